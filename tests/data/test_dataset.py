import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from vlprompt.data.dataset import Dataset, Item
from vlprompt.errors import VLPromptError


@pytest.fixture
def dataset() -> Dataset:
    def items(split: str, count: int) -> tuple[Item, ...]:
        return tuple(Item(f"{split}/{label}/{number}.png", label) for label in range(5) for number in range(count))

    return Dataset("five", Path("somewhere"), tuple("abcde"), items("train", 20), items("val", 6), items("test", 3))


@pytest.mark.parametrize(("shots", "val"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_few_shot_counts(dataset: Dataset, shots: int, val: int) -> None:
    sample = dataset.few_shot(shots, seed=1)
    assert (len(sample.train), len(sample.val), sample.test) == (5 * shots, 5 * val, dataset.test)


@pytest.mark.parametrize(("shots", "val"), [(1, 1), (4, 4), (17, 3), (20, 0)])
def test_without_a_validation_split_unused_training_images_are_held_out(dataset: Dataset, shots: int, val: int) -> None:
    published, sample = dataset.few_shot(shots, seed=1), replace(dataset, val=()).few_shot(shots, seed=1)
    assert sample.train == published.train
    assert Counter(item.label for item in sample.val) == Counter({label: val for label in range(5) if val})
    assert set(sample.val) <= set(dataset.train) - set(sample.train)
    assert sample.test == dataset.test


def test_few_shot_depends_on_the_seed(dataset: Dataset) -> None:
    assert dataset.few_shot(4, 1) == dataset.few_shot(4, 1)
    assert dataset.few_shot(4, 1) != dataset.few_shot(4, 2)


def test_class_with_fewer_images_than_shots(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    poor = replace(
        dataset, train=tuple(item for item in dataset.train if item.label != 2 or item.path.endswith("/1.png"))
    )
    with caplog.at_level(logging.INFO, logger="vlprompt"):
        sample = poor.few_shot(8, 1)
    assert [item.path for item in sample.train if item.label == 2] == ["train/2/1.png"]
    assert caplog.messages == ["class 'c' has only 1 training image for 8 shots; using all"]


@pytest.mark.parametrize("shots", [0, -1])
def test_shots_below_one(dataset: Dataset, shots: int) -> None:
    with pytest.raises(VLPromptError, match="`shots` must be at least 1, got"):
        dataset.few_shot(shots, 1)


def test_no_training_images(dataset: Dataset) -> None:
    with pytest.raises(VLPromptError, match="'five' has no training images"):
        replace(dataset, train=()).few_shot(1, 1)


def test_subsets_are_relabeled(dataset: Dataset) -> None:
    base, new = dataset.subset("base"), dataset.subset("new")
    assert (base.class_names, new.class_names) == (("a", "b", "c"), ("d", "e"))
    assert {item.label for item in new.train} == {0, 1}
    assert {item.path.split("/")[1] for item in new.test} == {"3", "4"}
    assert dataset.subset("all") == dataset


def test_subset_errors(dataset: Dataset) -> None:
    with pytest.raises(VLPromptError, match="`classes` must be one of all, base, new, got 'old'"):
        dataset.subset("old")  # type: ignore[arg-type]
    with pytest.raises(VLPromptError, match="no new classes"):
        replace(dataset, class_names=("a",)).subset("new")


def test_class_names_are_normalized_and_distinct(dataset: Dataset) -> None:
    assert replace(dataset, class_names=("sea_lion", " b", "c", "d", "e")).class_names == (
        "sea lion",
        "b",
        "c",
        "d",
        "e",
    )
    for names in (("a", "b_", "c", "b", "e"), ("a", "", "c", "d", "e")):
        with pytest.raises(VLPromptError, match="dataset 'five': `class_names`"):
            replace(dataset, class_names=names)


def test_split_hash_covers_names_splits_paths_labels_and_order(dataset: Dataset) -> None:
    variants = [
        dataset,
        replace(dataset, class_names=tuple("abcdf")),
        replace(dataset, train=dataset.train[::-1]),
        replace(dataset, val=dataset.val[:-1]),
        replace(dataset, val=(), test=dataset.val + dataset.test),
        replace(dataset, test=(Item("test/0/0.png", 1), *dataset.test[1:])),
    ]
    assert len({variant.split_hash() for variant in variants}) == len(variants)
    assert replace(dataset, root=Path("elsewhere"), name="other").split_hash() == dataset.split_hash()
    assert len(dataset.split_hash()) == 64
