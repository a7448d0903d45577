"""Checks of datasets (`vlprompt data check`)."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import dataset_trees as trees
from vlprompt.data.check import inspect
from vlprompt.data.datasets.eurosat import EuroSAT
from vlprompt.data.datasets.known import Size, read_classes
from vlprompt.data.loading import load_dataset

OURS = "papers use another split, so their numbers cannot be compared with yours"


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a complete EuroSAT, for reduced published sizes."""
    trees.eurosat(tmp_path)
    sizes = {"train": Size(50, (5, 5)), "val": Size(20, (2, 2)), "test": Size(30, (3, 3))}
    monkeypatch.setattr(EuroSAT, "layouts", tuple(replace(layout, sizes=sizes) for layout in EuroSAT.layouts))
    return tmp_path


def test_complete_dataset_has_no_problems(whole: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        report = inspect("eurosat", whole)
    assert (report.problems, report.notes, report.unreadable, caplog.messages) == ([], [OURS], {}, [])
    assert list(report.fetch) == [f"CoOp's split (split_zhou_EuroSAT.json), into {whole / 'eurosat'}"]
    assert (report.folder, report.layout, report.classes) == (
        str(whole / "eurosat"),
        "class folders, split by vlprompt",
        10,
    )
    assert report.published == {"train": 50, "val": 20, "test": 30}
    assert report.counts["val"]["Sea or Lake"] == 2


def test_missing_dataset_shows_download_instructions(tmp_path: Path) -> None:
    report = inspect("eurosat", tmp_path)
    assert report.folder is None
    assert report.problems == [f"the images were not found: {tmp_path / 'eurosat'} does not exist"]
    assert list(report.fetch) == [
        "by torchvision",
        f"CoOp's split (split_zhou_EuroSAT.json), into {tmp_path / 'eurosat'}",
        f"class folders, split by vlprompt, into {tmp_path / 'eurosat'}",
    ]
    ways = list(report.fetch.values())
    assert ways[0] == ("vlprompt data fetch eurosat",)
    assert [line.split(" ")[0] for line in ways[1]] == ["2750/", "split_zhou_EuroSAT.json"]
    assert "by torchvision" not in inspect("stanford-cars", tmp_path).fetch


def test_counts_are_compared_with_the_published_ones(whole: Path) -> None:
    for number in (1, 2, 3):
        (whole / f"eurosat/2750/River/River_{number}.jpg").unlink()
    report = inspect("eurosat", whole)
    assert len(report.fetch) == 3, "all ways to get what is missing"
    assert report.problems == [
        "train must have 50 images as published, got 49",
        "train must have 5 images per class, got River 4",
        "val must have 20 images as published, got 19",
        "val must have 2 images per class, got River 1",
        "test must have 30 images as published, got 29",
        "test must have 3 images per class, got River 2",
    ]


def test_unreadable_images_are_reported(whole: Path) -> None:
    (whole / "eurosat/2750/Forest/Forest_4.jpg").write_bytes(b"")
    (whole / "eurosat/2750/River/River_7.jpg").write_bytes(b"not an image")
    report = inspect("eurosat", whole)
    assert report.unreadable == {
        "2750/Forest/Forest_4.jpg": "the file is empty",
        "2750/River/River_7.jpg": "not an image, or of an unknown format",
    }
    assert report.problems == [
        "2 images cannot be read: 2750/Forest/Forest_4.jpg (the file is empty), 2750/River/River_7.jpg (not an image, "
        "or of an unknown format)"
    ]


def test_missing_and_unknown_class_folders(whole: Path) -> None:
    (whole / "eurosat/2750/River").rename(whole / "eurosat/2750/Brook")
    problems = inspect("eurosat", whole).problems
    place = whole / "eurosat/2750"
    assert problems[:2] == [
        f"{place} has no folder River",
        f"{place} has folders that are not classes of the dataset: Brook",
    ]
    assert "train must have 5 images per class, got River 0" in problems


def test_duplicates_in_a_published_dataset_are_a_note(whole: Path) -> None:
    folder = whole / "eurosat/2750/River"
    paths = sorted(folder.iterdir())
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    report = inspect("eurosat", whole)
    assert not report.problems
    assert len(report.notes) == 2
    assert "duplicated across splits under different names: 2750/River/River_" in report.notes[0]


def test_label_map_and_files_of_a_split_are_checked(tmp_path: Path) -> None:
    rows = trees.field_split("oxford-pets", lambda key, n: f"{key}_{n}.jpg", lambda word: word.replace(" ", "_"))
    rows["test"].append(rows["train"][0])
    file = tmp_path / "oxford_pets/split_zhou_OxfordPets.json"
    trees.split_json(file, tmp_path / "oxford_pets/images", rows)
    file.write_text(file.read_text().replace('"beagle"', '"bugle"'))
    (tmp_path / "oxford_pets/images/Bengal_3.jpg").unlink()
    report = inspect("oxford-pets", tmp_path)
    assert report.layout == "CoOp's split (split_zhou_OxfordPets.json)"
    assert report.problems == [
        "split_zhou_OxfordPets.json has other class names: class 4 is 'bugle' instead of 'beagle'",
        "1 image missing from CoOp's split (split_zhou_OxfordPets.json): images/Bengal_3.jpg",
        "train must have 2,944 images as published, got 74",
        "val must have 736 images as published, got 36",
        "test must have 3,669 images as published, got 38",
        "1 image in more than one split: images/yorkshire_terrier_1.jpg",
    ]
    assert report.fetch
    file.write_text("{}")
    assert inspect("oxford-pets", tmp_path).fetch
    assert inspect("oxford-pets", tmp_path).problems == [
        f"{file} cannot be used: it has no list 'train'; download it again"
    ]


@pytest.mark.parametrize(
    ("name", "file", "path", "first", "second"),
    [
        ("dtd", "dtd/split_zhou_DescribableTextures.json", "{key}/{key}_{n:04}.jpg", "banded", "blotchy"),
        ("oxford-pets", "oxford_pets/split_zhou_OxfordPets.json", "{key}_{n}.jpg", "beagle", "boxer"),
    ],
)
def test_images_with_the_wrong_label(name: str, file: str, path: str, first: str, second: str, tmp_path: Path) -> None:
    rows = trees.field_split(name, lambda key, n: path.format(key=key, n=n))
    labels = {word: label for _, label, word in rows["train"]}
    for split in rows.values():
        for index, (image, _, word) in enumerate(split):
            if word in (first, second):
                other = second if word == first else first
                split[index] = (image, labels[other], other)
    trees.split_json(tmp_path / file, tmp_path / Path(file).parent / "images", rows)
    wrong = f"{second} is called {first!r}, {first} is called {second!r}"
    assert inspect(name, tmp_path).problems[0] == f"{Path(file).name} labels images with the wrong class: {wrong}"


def test_class_names_shifted_by_a_line(tmp_path: Path) -> None:
    keys, words = read_classes("imagenet-r").keys, read_classes("imagenet-r").words
    trees.synsets(tmp_path / "imagenet-r", keys)
    shifted = zip(keys, [*words[1:], words[0]], strict=True)
    trees.lines(tmp_path / "classnames.txt", [f"{key} {word}" for key, word in shifted])
    found = f"{tmp_path / 'classnames.txt'} gives classes the names of others: {keys[0]} is {words[1]!r}, which is"
    assert inspect("imagenet-r", tmp_path).problems[0].startswith(f"{found} {keys[1]}, ")


def test_conflicting_and_repeated_rows(tmp_path: Path) -> None:
    paths = [f"{name}{n}.jpg" for name in ("ant", "oak") for n in range(4)]
    trees.write_images(tmp_path, paths)
    rows = [f"{path},{path[:3]},{'train' if '1' in path or '2' in path else 'test'}" for path in paths]
    trees.lines(tmp_path / "a.csv", ["path,label,split", *rows, "ant1.jpg,oak,train", "oak2.jpg,oak,train"])
    report = inspect(str(tmp_path / "a.csv"))
    assert report.problems == [
        "1 image listed more than once, and used once: oak2.jpg",
        "1 image in more than one class: ant1.jpg",
    ]
    assert report.notes == []


def test_missing_annotation_file_is_reported(tmp_path: Path) -> None:
    trees.oxford_pets(tmp_path)
    (tmp_path / "oxford-iiit-pet/annotations/test.txt").unlink()
    report = inspect("oxford-pets", tmp_path)
    assert report.folder is None
    assert "oxford-iiit-pet lacks annotations/test.txt" in report.problems[0]


def test_class_names_from_a_file_are_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = read_classes("imagenet-r").keys
    trees.synsets(tmp_path / "imagenet-r", keys)
    words = [f"{key} {word}" for key, word in zip(keys, read_classes("imagenet-r").words, strict=True)]
    trees.lines(tmp_path / "classnames.txt", [words[0].replace("goldfish", "gold fish"), *words[1:]])
    load_dataset("imagenet-r", root=tmp_path)
    line = f"{tmp_path / 'classnames.txt'} replaces 1 class name: {keys[0]} is 'gold fish' instead of 'goldfish'"
    assert line in caplog.messages
    report = inspect("imagenet-r", tmp_path)
    assert report.notes == ["1 class names come from a file in the folder and differ from the built-in ones"]
    assert report.problems == ["test must have 30,000 images as published, got 200"]


def test_user_folder(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    trees.write_images(tree, [f"{name}/{number}.jpg" for name in ("ant", "oak", "sea_lion") for number in range(10)])
    report = inspect(str(tree))
    assert (report.name, report.layout, report.problems, report.published) == ("tree", "", [], {})
    assert report.counts["train"] == {"ant": 5, "oak": 5, "sea lion": 5}
    (tree / "oak/0.jpg").write_bytes(b"")
    for path in (tree / "ant").iterdir():
        path.write_bytes((tree / "ant/1.jpg").read_bytes())
    report = inspect(str(tree))
    assert report.unreadable == {"oak/0.jpg": "the file is empty"}
    assert report.problems[0] == "1 image cannot be read: oak/0.jpg (the file is empty)"
    assert "under different names: ant/" in report.problems[1]


def test_report_as_json(whole: Path) -> None:
    found = inspect("eurosat", whole).as_dict()
    assert found["counts"]["test"]["Forest"] == 3
    assert json.loads(json.dumps(found)) == {
        **found,
        "fetch": {way: list(lines) for way, lines in found["fetch"].items()},
    }
