import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.sampling import class_half, group_by_label, image_rng, sample_shots, spaced, split_order, split_sizes

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "fewshot_splits.json").read_text())
CASES = RECORDED["cases"]


@dataclass(frozen=True)
class Thing:
    label: int
    number: int


labeled = st.lists(st.integers(0, 5), max_size=60).map(
    lambda labels: [Thing(label, number) for number, label in enumerate(labels)]
)


@pytest.fixture(scope="module")
def recorded() -> Dataset:
    train, val, test = (
        tuple(Item(path, label) for path, label, _ in RECORDED["split"][split]) for split in ("train", "val", "test")
    )
    names = {label: name for items in RECORDED["split"].values() for _, label, name in items}
    return Dataset("recorded", Path(), tuple(names[label] for label in sorted(names)), train, val, test)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['shots']} shots, seed {case['seed']}" for case in CASES])
def test_sampling_matches_dassl(recorded: Dataset, case: dict[str, Any]) -> None:
    dataset = recorded.few_shot(case["shots"], case["seed"])
    assert [item.path for item in dataset.train] == case["train"]
    assert [item.path for item in dataset.val] == case["val"]
    assert dataset.test == recorded.test
    for half in ("base", "new"):
        part, expected = dataset.subset(half), case[half]
        assert [[item.path, item.label] for item in part.train] == expected["train"]
        assert len(part.test) == expected["test_count"]
        assert [item.label for item in part.test[:20]] == expected["test_labels_first20"]


def test_recorded_cases_are_complete() -> None:
    assert {(case["shots"], case["seed"]) for case in CASES} == {(n, s) for n in (1, 2, 4, 8, 16) for s in (1, 2, 3)}


@given(labeled, st.integers(1, 12), st.integers())
def test_sample_size_per_label_without_repeats(things: list[Thing], shots: int, seed: int) -> None:
    sample = sample_shots(things, shots, random.Random(seed))
    have, drawn = Counter(thing.label for thing in things), Counter(thing.label for thing in sample)
    assert drawn == {label: min(count, shots) for label, count in have.items()}
    assert len(set(sample)) == len(sample)
    assert set(sample) <= set(things)
    assert sample == sample_shots(things, shots, random.Random(seed))


@given(labeled)
def test_grouping_preserves_items_and_order(things: list[Thing]) -> None:
    groups = group_by_label(things)
    assert list(groups) == list(dict.fromkeys(thing.label for thing in things))
    for label, group in groups.items():
        assert group == [thing for thing in things if thing.label == label]


@given(st.integers(1, 2000))
def test_base_and_new_classes_are_halves(count: int) -> None:
    base, new = class_half(count, "base"), class_half(count, "new")
    assert [*base, *new] == list(class_half(count, "all")) == list(range(count))
    assert len(base) - len(new) in (0, 1)


@given(st.integers(0, 10_000))
def test_split_sizes_cover_all_images(count: int) -> None:
    train, val, test = split_sizes(count)
    assert train + val + test == count
    assert min(train, val, test) >= 0
    if count:
        assert train >= 1
    if count >= 2:
        assert test >= 1
    if count >= 20:
        assert abs(train / count - 0.5) < 0.05
        assert abs(val / count - 0.2) < 0.05


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (2, 0, 1)), (4, (2, 1, 1)), (10, (5, 2, 3))]
)
def test_split_sizes_of_small_classes(count: int, sizes: tuple[int, int, int]) -> None:
    assert split_sizes(count) == sizes


@given(st.sets(st.text(min_size=1), min_size=1), st.text(min_size=1), st.integers())
def test_adding_a_file_keeps_the_split_order(paths: set[str], new: str, seed: int) -> None:
    before = split_order(sorted(paths - {new}), seed)
    after = split_order(sorted(paths | {new}), seed)
    assert [path for path in after if path != new] == before


def test_split_order_depends_on_the_seed() -> None:
    paths = [f"{number}.png" for number in range(50)]
    assert split_order(paths, 1) != split_order(paths, 2)
    assert split_order(paths, 1) == split_order(paths[::-1], 1)


def test_image_rng_is_reproducible() -> None:
    assert [image_rng(1, 2, 3).random(), image_rng(0, 0, 0).random()] == [0.7910137503955594, 0.5013997148167615]


@given(st.tuples(*[st.integers(0, 10**6)] * 3), st.tuples(*[st.integers(0, 10**6)] * 3))
def test_image_rngs_are_independent(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (image_rng(*one).random() == image_rng(*other).random()) == (one == other)


def test_spaced() -> None:
    assert spaced(10, 3) == [0, 3, 6]
    assert spaced(3, 10) == [0, 1, 2]
