"""Layouts of folders as they come: splits of all spellings, doubled folders, pictures without labels."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vlprompt.data.dataset import Dataset
from vlprompt.data.readers.folder import read_folder
from vlprompt.errors import VLPromptError

Draw = Callable[[Path], Path]
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, draw: Draw) -> Make:
    """Function that draws images: `train/cat/3` stands for three of them in that folder."""

    def write(*folders: str) -> Path:
        for folder in folders:
            place, _, count = folder.rpartition("/")
            (tmp_path / "d" / place).mkdir(parents=True, exist_ok=True)
            for number in range(int(count)):
                draw(tmp_path / "d" / place / f"{number}.png")
        return tmp_path / "d"

    return write


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.val), len(dataset.test)


def message(root: Path) -> str:
    with pytest.raises(VLPromptError) as caught:
        read_folder(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Test"),
        ("TRAIN", "VAL", "TEST"),
        ("training_set", "validation_set", "test_set"),
        ("Train", "dev", "Testing"),
        ("train_images", "val_images", "test_images"),
        ("seg_train/seg_train", "seg_dev", "seg_test/seg_test"),
        ("train/train", "val/val", "test/test"),
        ("train/images", "val/images", "test/images"),
        ("archive/data/train", "archive/data/valid", "archive/data/test"),
        ("pets/pets_train", "pets/pets_val", "pets/pets_test"),
        ("train2017", "val2017", "test2017"),
    ],
)
def test_splits_above_classes(train: str, val: str, test: str, make: Make) -> None:
    counts = ((train, 3), (val, 2), (test, 1))
    dataset = read_folder(make(*(f"{split}/{name}/{count}" for split, count in counts for name in ("cat", "dog"))))
    assert dataset.class_names == ("cat", "dog")
    assert sizes(dataset) == (6, 4, 2)
    assert all(item.path.startswith(f"{train}/") for item in dataset.train)
    assert all(item.path.startswith(f"{test}/") for item in dataset.test)
    assert (dataset.split_seed, dataset.tested_on) == (None, "test")


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "Test"), ("cat_train", "cat_test")])
def test_splits_below_classes(train: str, test: str, make: Make) -> None:
    root = make(*(f"{name}/{split}/{count}" for name in ("cat", "dog") for split, count in ((train, 3), (test, 2))))
    dataset = read_folder(root)
    assert dataset.class_names == ("cat", "dog")
    assert sizes(dataset) == (6, 0, 4)
    assert [item.path for item in dataset.test[:2]] == [f"cat/{test}/0.png", f"cat/{test}/1.png"]


def test_splits_below_some_classes_only(make: Make) -> None:
    root = make("cat/train/3", "cat/test/2", "dog/5", "bird/young/3")
    assert "has train, test in class 'cat', but not in 'bird', 'dog'; put split folders into all" in message(
        root
    ).replace("test, train", "train, test")


@pytest.mark.parametrize(
    "names",
    [
        ("train", "bus", "car"),
        ("Train", "bus"),
        ("training", "meeting"),
        ("valid", "invalid"),
        ("dev", "ops", "admin"),
    ],
)
def test_classes_with_the_name_of_a_split(names: tuple[str, ...], make: Make) -> None:
    dataset = read_folder(make(*(f"{name}/4" for name in names)))
    assert dataset.class_names == tuple(sorted(names))
    assert dataset.split_seed == 1


@pytest.mark.parametrize(
    "folders",
    [
        ("test/3", "cat/3", "dog/3"),  # unlabeled, or a class
        ("test/cat/3", "test/dog/3", "cat/3", "dog/3"),
        ("train/cat/3", "train/dog/3", "holdout/cat/3", "holdout/dog/3"),
        ("train/3", "test/3", "cat/3", "dog/3"),
    ],
)
def test_splits_and_classes_that_cannot_be_told_apart(folders: tuple[str, ...], make: Make) -> None:
    said = message(make(*folders))
    assert "the name of a split, beside 'cat', 'dog'" in said or "beside 'holdout'" in said
    assert "if it is a class, rename it" in said and "`exclude`" in said


def test_what_is_left_out_makes_it_clear(make: Make) -> None:
    root = make("test/cat/3", "test/dog/3", "cat/2", "dog/2")
    assert sizes(read_folder(root, exclude=["test"])) == (2, 0, 2)
    assert sizes(read_folder(root, exclude=["cat/*.png", "dog/*.png"])) == (0, 0, 6)


@pytest.mark.parametrize(
    "splits", [("train", "test"), ("Training", "Testing"), ("train/train", "test/test"), ("train",)]
)
def test_pictures_directly_in_train(splits: tuple[str, ...], make: Make) -> None:
    said = message(make(*(f"{split}/8" for split in splits)))
    assert (
        f"{splits[0]} holds 8 images directly, without class folders, so they have no labels; put the images of" in said
    )


def test_pictures_directly_in_train_beside_test_with_classes(make: Make) -> None:
    assert "train holds 4 images directly" in message(make("train/4", "test/cat/2", "test/dog/2"))


def test_file_names_that_begin_with_classes(make: Make, draw: Draw) -> None:
    root = make("test/2")
    for name in ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"):
        draw(root / "train" / name)
    assert message(root).endswith("their names begin with cat, dog: put each into a folder of that name")


@pytest.mark.parametrize("folders", [("train/4", "test/4"), ("images/5",), ("train/images/4",), ("train_images/4",)])
@pytest.mark.parametrize("table", ["train.csv", "labels.csv", "train.parquet"])
def test_a_table_beside_the_pictures_is_named(folders: tuple[str, ...], table: str, make: Make) -> None:
    root = make(*folders)
    (root / table).write_text("id,breed\n0,cat\n")
    (root / "sample_submission.csv").write_text("id,cat\n0,0.5\n")
    assert f"if {table} names their classes, give it as `data` (columns path and label)" in message(root)


@pytest.mark.parametrize("folder", ["test/3", "test/test/3", "test/unknown/3", "Test1/3", "test/images/3"])
def test_test_folder_without_labels(folder: str, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make("train/cat/10", "train/dog/10", "valid/cat/3", "valid/dog/3", folder)
    dataset = read_folder(root)
    assert (sizes(dataset), dataset.tested_on) == ((20, 0, 6), "val"), "nothing is selected on what is tested"
    place = (
        folder.removesuffix("/3").removesuffix("/unknown").removesuffix("/images")
        if "test/test" not in folder
        else "test/test"
    )
    assert caplog.messages[:2] == [
        f"{root / place} has no labels: its 3 images are not in folders of the classes; they are left out",
        f"{root} has no labeled test images; testing on its validation images",
    ]


def test_train_alone_is_split_by_seed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    dataset = read_folder(make("train/cat/10", "train/dog/10", "test/4"))
    assert (sizes(dataset), dataset.split_seed) == ((10, 4, 6), 1)
    assert caplog.messages[-1].endswith("has labeled images in train/ alone; a part of them is held out for testing")


def test_folder_for_testing_alone(make: Make) -> None:
    assert sizes(read_folder(make("Test/cat/2", "Test/dog/2"))) == (0, 0, 4)


def test_folders_beside_splits_are_left_out_and_named(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make("seg_train/seg_train/cat/3", "seg_train/seg_train/dog/3", "seg_test/seg_test/cat/2")
    make("seg_test/seg_test/dog/2", "seg_pred/seg_pred/7", "labels/0")
    dataset = read_folder(root)
    assert sizes(dataset) == (6, 0, 4)
    assert caplog.messages == [
        f"{root} has images beside seg_test/, seg_train/, which are left out: seg_pred/ (7)",
        f"1 folder of {root} without images: labels; left out",
    ]


def test_chest_xrays(make: Make) -> None:
    """The archive holds its folders twice, and what macOS adds."""
    splits = (
        "train/NORMAL/3",
        "train/PNEUMONIA/3",
        "val/NORMAL/1",
        "val/PNEUMONIA/1",
        "test/NORMAL/2",
        "test/PNEUMONIA/2",
    )
    folders = [f"chest_xray/{inner}{split}" for inner in ("", "chest_xray/", "__MACOSX/") for split in splits]
    dataset = read_folder(make(*folders))
    assert (dataset.class_names, sizes(dataset)) == (("NORMAL", "PNEUMONIA"), (6, 2, 4))


def test_doubled_folders_of_classes(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="vlprompt"):
        dataset = read_folder(make("archive/pets/cat/4", "archive/pets/dog/4"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train[0].path.startswith("archive/pets/cat/")
    assert [line.partition(": ")[2] for line in caplog.messages] == [
        "reading the folders in archive",
        "reading the folders in archive/pets",
    ]


@pytest.mark.parametrize("empty", ["lost-and-found", "annotations", "labels/train", "empty"])
def test_folders_without_images_are_left_out_and_named(
    empty: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    root = make("cat/4", "dog/4", f"{empty}/0")
    (root / empty / "a.xml").write_text("x")
    assert read_folder(root).class_names == ("cat", "dog")
    assert caplog.messages == [f"1 folder of {root} without images: {empty.partition('/')[0]}; left out"]


def test_class_with_nothing_but_files_that_are_not_read(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make("cat/4", "dog/4", "bird/0")
    for number in range(5):
        (root / f"bird/{number}.CR2").write_text("raw")
    assert message(root) == (
        f"class 'bird' of {root} has no image that is read; 5 files are not read: 5 .cr2 (raw photographs; convert "
        "them to .jpg)"
    )
    assert read_folder(root, exclude=["bird"]).left_out == ()


def test_class_with_unreadable_files_names_the_first(make: Make) -> None:
    root = make("cat/4", "dog/4", "cow/0")
    (root / "cow/0.png").write_text("broken")
    assert "class 'cow'" in message(root) and "(cow/0.png: not an image, or of an unknown format)" in message(root)


def test_left_out_files_are_named_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make("cat/4", "dog/4")
    (root / "cat/0.nef").write_text("raw")
    (root / "dog/notes.txt").write_text("text")
    dataset = read_folder(root)
    assert [(one.suffix, one.count) for one in dataset.left_out] == [(".nef", 1), (".txt", 1)]
    assert caplog.messages == [
        f"{root}: 2 files are not read: 1 .nef (raw photographs; convert them to .jpg), 1 .txt (no images)"
    ]


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("SEA lion", "sea lion")])
def test_classes_have_the_spelling_of_the_training_folder(one: str, other: str, make: Make) -> None:
    dataset = read_folder(make(f"train/{one}/3", "train/dog/3", f"test/{other}/2", "test/dog/2"))
    assert set(dataset.class_names) == {one, "dog"}
    assert Counter(dataset.class_names[item.label] for item in dataset.test) == {one: 2, "dog": 2}


def test_class_of_the_test_folder_alone(make: Make) -> None:
    root = make("train/cat/3", "train/dog/3", "test/cat/2", "test/bird/2")
    assert "class 'bird'" in message(root) and "no readable training image, only images for test" in message(root)


@pytest.mark.parametrize(
    ("folders", "nested"),
    [
        (("art/cat/3", "art/dog/3", "clipart/cat/3", "clipart/dog/3"), "art/ (cat, dog), clipart/ (cat, dog)"),
        (("labeled/cat/3", "labeled/dog/3", "unlabeled/4"), "labeled/ (cat, dog)"),
        (
            ("art/train/cat/3", "art/train/dog/3", "art/test/cat/3", "sketch/train/4", "sketch/test/4"),
            "art/ (cat, dog)",
        ),
        (("train/pets/cat/3", "train/pets/dog/3", "train/car/4", "test/pets/2", "test/car/2"), "pets/ (cat, dog)"),
    ],
)
def test_classes_of_folders_are_named(
    folders: tuple[str, ...], nested: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    root = make(*folders)
    read_folder(root)
    assert f"{root}: folders in a class belong to it and are not classes of their own: {nested}" in caplog.messages


def test_folders_in_a_class_beside_its_images(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    read_folder(make("cat/4", "cat/old/2", "cat/new/2", "dog/session/4"))
    assert not caplog.messages, "the images in the class say what it is"


@pytest.mark.parametrize("folder", ["train", "images", "train/images"])
def test_a_table_among_the_images_is_named(folder: str, make: Make) -> None:
    root = make(f"{folder}/4", "test/4") if folder != "images" else make("images/4")
    (root / folder / "_annotations.csv").write_text("filename,class\n0.png,cat\n")
    assert f"if {folder}/_annotations.csv names their classes, give it as `data`" in message(root)


def test_images_in_one_folder_alone(make: Make) -> None:
    root = make("images/4", "labels/0")
    assert message(root).startswith(f"{root} has images in 'images' alone, and class 'labels' has no readable")
