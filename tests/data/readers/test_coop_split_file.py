"""A user's own split file in CoOp's format."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.conftest import Draw
from tests.helpers import dataset_trees as trees
from vlprompt.data.datasets.known import read_classes
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError

NAMES = ("cat", "sea_lion", "10")
SPLITS = ("train", "val", "test")


@pytest.fixture
def own(tmp_path: Path, draw: Draw) -> Path:
    """A split of three classes, with its images in the folder beside it."""
    rows: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(NAMES):
        for number, split in enumerate(("train", "train", "val", "test")):
            draw(tmp_path / f"data/images/{name}/{number}.png")
            rows[split].append([f"{name}/{number}.png", label, name])
    file = tmp_path / "data/split_mine.json"
    file.write_text(json.dumps(rows))
    return file


def test_own_split(own: Path) -> None:
    dataset = load_dataset(own)
    assert (dataset.name, dataset.root) == ("split_mine", own.parent / "images")
    assert dataset.class_names == ("cat", "sea lion", "10"), "in the order of their labels"
    assert [item.path for item in dataset.train] == [f"{name}/{n}.png" for name in NAMES for n in (0, 1)]
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [6, 3, 3]
    assert load_dataset(own, name_map={"10": "ten"} | {name: name for name in NAMES[:2]}).class_names[2] == "ten"


def test_paths_beside_the_file_in_a_root_and_with_backslashes(own: Path, tmp_path: Path) -> None:
    expected = load_dataset(own).split_hash()
    beside = own.rename(own.parent / "images/mine.json")
    assert load_dataset(beside).split_hash() == expected
    elsewhere = beside.rename(tmp_path / "mine.json")
    assert load_dataset(elsewhere, root=tmp_path / "data/images").split_hash() == expected
    elsewhere.write_text(elsewhere.read_text().replace("/", "\\\\"), encoding="utf-16")
    assert load_dataset(elsewhere, root=tmp_path / "data/images").split_hash() == expected


def test_no_image_is_in_two_splits(own: Path) -> None:
    rows = json.loads(own.read_text())
    rows["train"].append(rows["test"][0])
    own.write_text(json.dumps(rows))
    assert [len(items) for items in load_dataset(own).splits().values()] == [6, 3, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "must hold {"),
        ('{"images": []}', "must hold {"),
        ("{", "is not JSON"),
        ('{"train": 3}', "must hold lists called train, val and test, got 'train'"),
        ('{"train": [], "more": []}', "must hold lists called train, val and test, got 'more'"),
        ('{"train": []}', "has no images"),
        (
            '{"train": [["a.png", "0", "cat"]]}',
            r"\['a.png', '0', 'cat'\] in 'train' is not \[path, label, class name\]",
        ),
        ('{"train": [["a.png", 0, "cat"], ["b.png", 0, "dog"]]}', "class 0 is called 'cat' and 'dog'"),
        ('{"train": [["a.png", 0, "cat"], ["b.png", 1, "cat"]]}', "class 'cat' has two labels"),
        ('{"train": [["a.png", 0, "cat"], ["b.png", 1, "dog"]]}', "none of the 2 images"),
    ],
)
def test_clear_errors(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(VLPromptError, match=message) as caught:
        load_dataset(tmp_path / "mine.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [3, 99])
def test_own_classes_under_the_name_of_a_known_dataset_are_refused(count: int, tmp_path: Path) -> None:
    """They were a classifier of 100 classes, 97 of which nobody asked for."""
    for names in (["cat", "dog", "bird"], list(read_classes("caltech101").words)):
        kept = list(enumerate(names[:count]))
        rows = {split: [(f"{label}_{split}.jpg", label, name) for label, name in kept] for split in SPLITS}
        folder = tmp_path / "caltech-101"
        trees.split_json(folder / "split_zhou_Caltech101.json", folder / "101_ObjectCategories", rows)
        match = r"its .* classes are not the 100 of the dataset; .*pass the file itself as `data`"
        with pytest.raises(VLPromptError, match=match):
            load_dataset("caltech101", root=tmp_path)
        words = load_dataset(folder / "split_zhou_Caltech101.json").class_names
        assert words == tuple(names[:count])
