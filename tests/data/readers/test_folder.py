import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vlprompt.data.readers.folder import read_folder
from vlprompt.errors import VLPromptError

Draw = Callable[[Path], Path]


def test_plain_folder_is_split_by_seed(tree: Path) -> None:
    dataset = read_folder(tree)
    assert dataset.name == "tree"
    assert dataset.class_names == ("ant", "oak", "sea lion")
    for items, count in ((dataset.train, 5), (dataset.val, 2), (dataset.test, 3)):
        assert Counter(item.label for item in items) == {0: count, 1: count, 2: count}
        assert all(item.path.startswith(("ant/", "oak/", "sea_lion/")[item.label]) for item in items)
    everything = [item.path for item in dataset.train + dataset.val + dataset.test]
    assert len(set(everything)) == 30
    assert read_folder(tree).split_hash() == dataset.split_hash()
    assert read_folder(tree, split_seed=2).split_hash() != dataset.split_hash()


def test_adding_a_class_keeps_the_other_splits(tree: Path, draw: Draw) -> None:
    before = {item.path for item in read_folder(tree).train}
    for number in range(4):
        draw(tree / "bee" / f"{number}.png")
    assert before < {item.path for item in read_folder(tree).train}


def test_given_splits_are_kept(split_tree: Path, draw: Draw) -> None:
    dataset = read_folder(split_tree)
    assert dataset.class_names == ("cat", "dog")
    assert [item.path for item in dataset.test] == [f"test/{name}/{n}.png" for name in ("cat", "dog") for n in (0, 1)]
    assert (len(dataset.train), dataset.val) == (6, ())
    draw(split_tree / "validation/dog/0.png")
    assert [(item.path, item.label) for item in read_folder(split_tree).val] == [("validation/dog/0.png", 1)]


def test_folder_with_only_a_test_split(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "test/a/0.png")
    draw(tmp_path / "test/b/0.png")
    dataset = read_folder(tmp_path)
    assert (dataset.train, len(dataset.test)) == ((), 2)


def test_class_named_train_is_not_a_split(tmp_path: Path, draw: Draw) -> None:
    for name in ("bus", "car", "train"):
        draw(tmp_path / name / "0.png")
        draw(tmp_path / name / "1.png")
    assert read_folder(tmp_path).class_names == ("bus", "car", "train")


def test_ignored_and_included_files(tree: Path, draw: Draw, tmp_path: Path) -> None:
    elsewhere = draw(tmp_path / "elsewhere/image.png").parent
    for name in ("ant/.hidden.png", "ant/.thumbnails/0.png", ".git/0.png"):
        draw(tree / name)
    (tree / "ant/notes.txt").write_text("not an image")
    (tree / "README.md").write_text("not a class")
    draw(tree / "ant/more/deep/UPPER.PNG")
    (tree / "ant/link.png").symlink_to(elsewhere / "image.png")
    (tree / "oak/linked").symlink_to(elsewhere)
    (tree / "oak/back").symlink_to(tree)
    (tree / "zebra").symlink_to(elsewhere)
    dataset = read_folder(tree)
    assert dataset.class_names == ("ant", "oak", "sea lion", "zebra")
    found = {item.path for item in dataset.train + dataset.val + dataset.test}
    expected = {f"{name}/{number}.png" for name in ("ant", "oak", "sea_lion") for number in range(10)}
    expected |= {"ant/more/deep/UPPER.PNG", "ant/link.png", "oak/linked/image.png", "zebra/image.png"}
    assert {path for path in found if not path.startswith("oak/back")} == expected
    assert all(path.count("back") <= 1 for path in found)


def test_unreadable_files_are_skipped_and_reported(tree: Path) -> None:
    (tree / "ant/0.png").write_bytes(b"")
    (tree / "oak/0.png").write_text("not an image")
    dataset = read_folder(tree)
    assert [path for path, _ in dataset.skipped] == ["ant/0.png", "oak/0.png"]
    found = {item.path for item in dataset.train + dataset.val + dataset.test}
    assert len(found) == 28
    assert not found & dict(dataset.skipped).keys()


def test_class_names_from_name_map(tree: Path) -> None:
    names = {"ant": "tiny ant", "oak": "oak tree", "sea_lion": "sea lion", "unused": "nothing"}
    assert read_folder(tree, name_map=names).class_names == ("tiny ant", "oak tree", "sea lion")


def message(root: Path) -> str:
    with pytest.raises(VLPromptError) as caught:
        read_folder(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clear_errors(tmp_path: Path, draw: Draw, split_tree: Path) -> None:
    assert "must be a folder" in message(tmp_path / "nowhere")
    root = tmp_path / "root"
    root.mkdir()
    assert re.search(r"no class folders; put the images of each class", message(root))
    draw(root / "0.png")
    assert "its images are not in subfolders" in message(root)
    (root / "a").mkdir()
    assert "1 class folders but no images" in message(root)
    draw(root / "a/0.png")
    assert "only one class ('a')" in message(root)
    (root / "b").mkdir()
    assert "class 'b'" in message(root) and "has no readable training image" in message(root)
    (root / "b/0.png").touch()
    assert "class 'b'" in message(root)
    (root / "a/0.png").write_bytes(b"")
    assert "none of the 2 images" in message(root) and "the file is empty" in message(root)
    draw(split_tree / "test/bird/0.png")
    assert "class 'bird'" in message(split_tree) and "no readable training image" in message(split_tree)


def test_classes_without_test_images_cause_a_warning(
    tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/0.png", "b/0.png", "b/1.png"):
        draw(tmp_path / name)
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        read_folder(tmp_path)
    assert caplog.messages == ["1 of 2 classes have no test image; the first is 'a'"]


def test_images_outside_class_folders_are_reported(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(pictures, tmp_path / "mixed"))
    shutil.copy(root / "night" / "00.png", root / "stray.png")
    assert len(read_folder(root).class_names) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"ignoring images of {root} outside of its class folders: stray.png"
    ]


def test_numeric_classes_are_sorted_by_value(tmp_path: Path, draw: Draw) -> None:
    for name in ("10", "9", "2"):
        draw(tmp_path / name / "0.png")
    assert read_folder(tmp_path).class_names == ("2", "9", "10")
