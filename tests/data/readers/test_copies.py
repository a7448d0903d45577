"""One image is in one split, whatever its files are called and however often they are listed."""

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.data.conftest import Draw
from vlprompt.data import file_facts
from vlprompt.data.check import inspect
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError


def splits_of(dataset: Dataset) -> dict[str, set[str]]:
    """Return the splits of each image, by its content."""
    found: dict[str, set[str]] = {}
    for split, items in dataset.splits().items():
        for item in items:
            found.setdefault((dataset.root / item.path).read_bytes().hex(), set()).add(split)
    return found


def table(file: Path, rows: Iterable[str], header: str = "path,label,split") -> str:
    file.write_text("\n".join([header, *rows]))
    return str(file)


def test_copies_in_a_folder_are_in_one_split(tree: Path) -> None:
    before = load_dataset(tree)
    for number in range(5):
        shutil.copy(tree / f"ant/{number}.png", tree / f"ant/copy of {number}.png")
        shutil.copy(tree / f"oak/{number}.png", tree / f"sea_lion/oak {number}.png")
    for seed in (1, 2, 3):
        assert all(len(found) == 1 for found in splits_of(load_dataset(tree, split_seed=seed)).values())
    after = load_dataset(tree)
    assert sum(map(len, after.splits().values())) == 40, "no image is lost"
    for split, items in before.splits().items():
        assert set(items) <= set(after.splits()[split]), "images that were there keep their split"


def test_a_class_of_copies_still_has_training_images(tree: Path) -> None:
    (tree / "zebra").mkdir()
    shutil.copy(tree / "ant/3.png", tree / "zebra/3.png")
    shutil.copytree(tree / "ant", tree / "zoo")
    dataset = load_dataset(tree)
    assert {item.label for item in dataset.train} == set(range(5))
    assert all(len(found) == 1 for found in splits_of(dataset).values())


def test_a_copy_leaves_training_and_the_test_stays_whole(split_tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = load_dataset(split_tree)
    shutil.copy(split_tree / "test/cat/1.png", split_tree / "train/cat/copy.png")
    shutil.copy(split_tree / "test/dog/1.png", split_tree / "train/cat/dog.png")
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset(split_tree)
    assert dataset.splits() == whole.splits()
    line = (
        "2 images in a later split as well, and left out of the first: train/cat/copy.png (train) = test/cat/1.png "
        "(test), train/cat/dog.png (train) = test/dog/1.png (test)"
    )
    assert caplog.messages == [f"{split_tree}: {line}"]
    assert inspect(str(split_tree)).problems == [line]


def test_validation_is_between_training_and_test(tree: Path) -> None:
    for name in ("oak", "sea_lion"):
        shutil.copy(tree / f"{name}/0.png", tree / f"{name}/a.png")
        shutil.copy(tree / f"{name}/0.png", tree / f"{name}/b.png")
    rows = [
        f"{name}/{file}.png,{name},{split}"
        for name in ("oak", "sea_lion")
        for file, split in {"0": "train", "1": "train", "a": "val", "2": "val", "b": "test", "3": "test"}.items()
    ]
    dataset = load_dataset(table(tree / "a.csv", rows))
    assert {split: [item.path[-5] for item in items[:2]] for split, items in dataset.splits().items()} == {
        "train": ["1", "1"],
        "val": ["2", "2"],
        "test": ["b", "3"],
    }


@pytest.mark.parametrize("with_split", [True, False])
def test_repeated_rows_count_once(with_split: bool, tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [f"{name}/{number}.png" for name in ("ant", "oak") for number in range(6)]
    rows = [f"{path},{path[:3]}" + (",train" if path[4] in "012" else ",test") * with_split for path in paths]
    header = "path,label,split" if with_split else "path,label"
    once = load_dataset(table(tree / "a.csv", rows, header))
    caplog.clear()
    twice = load_dataset(table(tree / "a.csv", [*rows, *rows[:4]], header))
    assert twice.splits() == once.splits()
    line = "4 images listed more than once, and used once: ant/0.png, ant/1.png, ant/2.png, ant/3.png"
    assert caplog.messages == [f"{tree / 'a.csv'}: {line}"]


def test_one_path_in_two_splits_and_classes(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{name}/{n}.png,{name},{split}" for name in ("ant", "oak") for n, split in ((0, "train"), (1, "train"))]
    rows += ["ant/2.png,ant,test", "oak/2.png,oak,test", "ant/0.png,ant,test", "oak/1.png,ant,train"]
    dataset = load_dataset(table(tree / "a.csv", rows))
    assert [item.path for item in dataset.train] == ["ant/1.png", "oak/0.png", "oak/1.png", "oak/1.png"]
    assert [item.path for item in dataset.test] == ["ant/2.png", "oak/2.png", "ant/0.png"]
    assert "ant/0.png (train) = ant/0.png (test)" in caplog.text
    assert "1 image in more than one class: oak/1.png" in caplog.text


def test_equal_content_in_two_classes_is_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(tree / "oak/4.png", tree / "ant/oak.png")
    load_dataset(tree)
    lines = [
        "1 image duplicated within a split under different names: ant/oak.png = oak/4.png",
        "1 image in more than one class: ant/oak.png = oak/4.png",
    ]
    assert caplog.messages == [f"{tree}: {line}" for line in lines]
    assert sorted(inspect(str(tree)).problems) == lines


def test_training_images_that_are_all_tested_are_an_error(split_tree: Path) -> None:
    shutil.rmtree(split_tree / "test/cat")
    shutil.copytree(split_tree / "train/cat", split_tree / "test/cat")
    with pytest.raises(VLPromptError, match=r"class 'cat' of .* has no training image of its own, only copies"):
        load_dataset(split_tree)


def test_lines_of_an_own_split_file_follow_the_rule(tree: Path) -> None:
    rows = [("ant/0", "train"), ("ant/1", "test"), ("oak/0", "train"), ("oak/1", "test"), ("oak/0", "test")]
    rows.append(("oak/2", "train"))
    lines = [json.dumps({"path": f"{path}.png", "label": path[:3], "split": split}) for path, split in rows]
    (tree / "a.jsonl").write_text("\n".join(lines))
    assert [item.path for item in load_dataset(tree / "a.jsonl").train] == ["ant/0.png", "oak/2.png"]


def test_only_files_of_equal_size_are_hashed(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"a": 3, "b": 4, "c": 4, "d": 5, "e": 4}.items():
        (tmp_path / name).write_bytes(name.encode() * size if name != "e" else b"bbbb")
    hashed: list[str] = []
    original = file_facts.file_hashes

    def counting(root: Path, paths: list[str]) -> Iterable[str]:
        hashed.extend(paths)
        return original(root, paths)

    monkeypatch.setattr(file_facts, "file_hashes", counting)
    assert file_facts.first_copies(tmp_path, "abcdeb") == {"a": "a", "b": "b", "c": "c", "d": "d", "e": "b"}
    assert hashed == ["b", "c", "e"]
