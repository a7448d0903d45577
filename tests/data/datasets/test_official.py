"""torchvision's own folders with the official annotation files."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers import dataset_trees as trees
from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets.known import read_classes
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError

# Images of each class in train, val and test; how the path of the first class's first training image begins
EXPECTED = {
    "caltech101": ((5, 2, 3), "101_ObjectCategories/Faces/image_00"),
    "oxford-pets": ((4, 1, 1), "images/Abyssinian_"),
    "stanford-cars": ((4, 1, 1), "cars_train/0000"),
    "flowers102": ((1, 1, 2), "jpg/image_00001.jpg"),
    "food101": ((4, 1, 2), "images/apple_pie/100"),
    "fgvc-aircraft": ((1, 1, 1), "images/0034974.jpg"),
    "sun397": ((4, 1, 1), "SUN397/a/abbey/sun_"),
    "dtd": ((1, 1, 1), "images/banded/banded_0002.jpg"),
    "eurosat": ((5, 2, 3), "2750/AnnualCrop/AnnualCrop_"),
    "ucf101": ((4, 1, 1), "UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g"),
}


def splits(dataset: Dataset) -> tuple[set[str], ...]:
    return tuple({item.path for item in items} for items in (dataset.train, dataset.val, dataset.test))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder with all datasets."""
    root = tmp_path_factory.mktemp("data")
    for make in trees.OFFICIAL.values():
        make(root)
    return root


@pytest.mark.parametrize("name", EXPECTED)
def test_official_annotations(name: str, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset(name, root=data)
    assert len(caplog.messages) == (name != "fgvc-aircraft")
    assert all(message.endswith("; papers use another split") for message in caplog.messages)
    each, first = EXPECTED[name]
    assert dataset.class_names == read_classes(name).words
    for items, count in zip((dataset.train, dataset.val, dataset.test), each, strict=True):
        assert Counter(item.label for item in items) == dict.fromkeys(range(len(dataset.class_names)), count)
    assert next(item for item in dataset.train if item.label == 0).path.startswith(first)
    assert all((dataset.root / item.path).is_file() for item in dataset.train + dataset.val + dataset.test)
    parts = splits(dataset)
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and not parts[0] & parts[2]
    # Labels follow the class in the annotation file.
    word = read_classes(name).keys[len(dataset.class_names) - 1].split("/")[-1]
    if name not in ("stanford-cars", "flowers102", "fgvc-aircraft", "ucf101"):
        assert all(word in item.path for item in dataset.test if item.label == len(dataset.class_names) - 1)


def test_generated_splits_are_reproducible(data: Path, tmp_path: Path) -> None:
    dataset = load_dataset("oxford-pets", root=data)
    # CoOp's folder with the official lists gives the same split, CoOp's own split another hash.
    (tmp_path / "oxford_pets").symlink_to(data / "oxford-iiit-pet")
    assert load_dataset("oxford-pets", root=tmp_path).split_hash() == dataset.split_hash()
    (tmp_path / "oxford_pets").unlink()
    shutil.copytree(data / "oxford-iiit-pet", tmp_path / "oxford_pets")
    rows = {"train": [], "val": [], "test": []}  # type: ignore[var-annotated]
    for split, items in (("train", dataset.val + dataset.train), ("val", dataset.val), ("test", dataset.test)):
        rows[split] = [(Path(item.path).name, item.label, dataset.class_names[item.label]) for item in items]
    (tmp_path / "oxford_pets/split_zhou_OxfordPets.json").write_text(json.dumps(rows))
    field = load_dataset("oxford-pets", root=tmp_path)
    assert splits(field)[2] == splits(dataset)[2]
    assert field.split_hash() != dataset.split_hash()


def test_flowers_without_official_split(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "flowers-102", tmp_path / "oxford_flowers")
    (tmp_path / "oxford_flowers/setid.mat").unlink()
    dataset = load_dataset("flowers102", root=tmp_path)
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [204, 102, 102]
    assert splits(dataset) != splits(load_dataset("flowers102", root=data))


def test_sun397_without_partition(tmp_path: Path) -> None:
    trees.sun397(tmp_path, partition=False)
    dataset = load_dataset("sun397", root=tmp_path)
    assert dataset.root == tmp_path / "SUN397"
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [3 * 397, 397, 2 * 397]
    assert {item.path.rpartition("/")[0] for item in dataset.train if item.label == 9} == {"a/apse/indoor"}


def test_coop_aircraft_folder(tmp_path: Path) -> None:
    trees.fgvc_aircraft(tmp_path, "fgvc_aircraft")
    dataset = load_dataset("fgvc-aircraft", root=tmp_path)
    assert dataset.class_names[37] == "BAE 146-200"
    assert [item.label for item in dataset.test] == list(range(100))


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("oxford-pets", "oxford-iiit-pet/annotations/test.txt", "beagle_1 6 1 2\n", "labels 'beagle' as 'Bengal'"),
        ("oxford-pets", "oxford-iiit-pet/annotations/test.txt", "beagle_1 38 1 2\n", "must have a class from 1 to 37"),
        ("oxford-pets", "oxford-iiit-pet/annotations/test.txt", "beagle_1\n", "must have a class from 1 to 37"),
        ("dtd", "dtd/dtd/labels/val1.txt", "bent/bent_1.jpg\n", "class 'bent' does not belong to the dataset"),
        ("fgvc-aircraft", "fgvc-aircraft-2013b/data/variants.txt", "707-320\n", "it must have 100 classes, got 1"),
        (
            "fgvc-aircraft",
            "fgvc-aircraft-2013b/data/images_variant_val.txt",
            "1 A390\n",
            "class 'A390' does not belong",
        ),
        ("food101", "food-101/meta/test.json", '{"soup": ["soup/1"]}', "class 'soup' does not belong"),
        ("food101", "food-101/meta/test.json", '["soup/1"]', "it is not a mapping of classes to images"),
        ("sun397", "Testing_01.txt", "/a/arbour/sun_a.jpg\n", "class 'a/arbour' does not belong"),
        ("ucf101", "ucf101/ucfTrainTestlist/testlist01.txt", "Napping/v_1.avi\n", "class 'Napping' does not belong"),
        ("stanford-cars", "stanford_cars/devkit/cars_meta.mat", "no MATLAB", "it is not a MATLAB file"),
        ("flowers102", "flowers-102/imagelabels.mat", "", "cannot be used: it is not a MATLAB file"),
    ],
)
def test_wrong_annotation_file_is_rejected(
    name: str, file: str, content: str, message: str, data: Path, tmp_path: Path
) -> None:
    root = linked(data, tmp_path, file)
    (root / file).write_text(content)
    with pytest.raises(VLPromptError, match=message):
        load_dataset(name, root=root)


def linked(data: Path, root: Path, file: str) -> Path:
    """Link the data folder, except for one file to be rewritten."""
    place, original = root, data
    for part in Path(file).parts[:-1]:
        for path in original.iterdir():
            if path.name != part:
                (place / path.name).symlink_to(path)
        place, original = place / part, original / part
        place.mkdir()
    for path in original.iterdir():
        if path.name != Path(file).name:
            (place / path.name).symlink_to(path)
    return root


def test_cars_in_another_order_are_rejected(data: Path, tmp_path: Path) -> None:
    root = linked(data, tmp_path, "stanford_cars/devkit/cars_meta.mat")
    names = np.empty((1, 196), dtype=object)
    names[0, :] = sorted(read_classes("stanford-cars").words)
    savemat(root / "stanford_cars/devkit/cars_meta.mat", {"class_names": names})
    message = r"cars_meta.mat cannot be used: class 1 must be 'AM General Hummer SUV 2000', got '1991 Volkswagen"
    with pytest.raises(VLPromptError, match=message):
        load_dataset("stanford-cars", root=root)


def test_cars_without_test_labels_are_rejected(data: Path, tmp_path: Path) -> None:
    root = linked(data, tmp_path, "stanford_cars/cars_test_annos_withlabels.mat")
    found = np.empty((1, 2), dtype=[("bbox_x1", object), ("fname", object)])
    found[0, :] = [(30, "00001.jpg"), (30, "00002.jpg")]
    savemat(root / "stanford_cars/cars_test_annos_withlabels.mat", {"annotations": found})
    with pytest.raises(VLPromptError, match="the file must be the version with labels"):
        load_dataset("stanford-cars", root=root)
    savemat(
        root / "stanford_cars/cars_test_annos_withlabels.mat", {"annotations": trees.car_annotations([("1.jpg", 197)])}
    )
    with pytest.raises(VLPromptError, match=r"the class of cars_test/1\.jpg must be from 1 to 196, got 197"):
        load_dataset("stanford-cars", root=root)


def test_flowers_with_wrong_numbers_are_rejected(data: Path, tmp_path: Path) -> None:
    root = linked(data, tmp_path, "flowers-102/setid.mat")
    savemat(root / "flowers-102/setid.mat", {"trnid": [[1, 2]], "valid": [[3]], "tstid": [[409]]})
    with pytest.raises(VLPromptError, match="'tstid' must hold numbers from 1 to 408"):
        load_dataset("flowers102", root=root)
    savemat(root / "flowers-102/setid.mat", {"trnid": [[1, 2]]})
    with pytest.raises(VLPromptError, match="it has no variable 'valid'"):
        load_dataset("flowers102", root=root)


def test_missing_annotation_files_are_reported(data: Path, tmp_path: Path) -> None:
    root = linked(data, tmp_path, "ucf101/ucfTrainTestlist/testlist01.txt")
    with pytest.raises(
        VLPromptError,
        match=r"lacks split_zhou_UCF101.json; or ucfTrainTestlist/testlist01.txt; vlprompt data check ucf101 ",
    ):
        load_dataset("ucf101", root=root)


def test_data_folder_resolution(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLPROMPT_DATA", raising=False)
    with pytest.raises(VLPromptError, match=r"data/dtd does not exist; data/dtd/dtd does not exist; .* `root`"):
        load_dataset("dtd")
    (tmp_path / "data").symlink_to(data)
    assert load_dataset("dtd").root == Path("data/dtd/dtd")
    monkeypatch.setenv("VLPROMPT_DATA", str(data))
    assert load_dataset("dtd").root == data / "dtd/dtd"
    with pytest.raises(VLPromptError, match="the images of dtd were not found"):
        load_dataset("dtd", root=tmp_path / "elsewhere")


def test_eurosat_of_today(tmp_path: Path) -> None:
    """Zenodo's archive has another folder; CoOp's split fits both."""
    trees.eurosat(tmp_path)
    before = load_dataset("eurosat", root=tmp_path)
    (tmp_path / "eurosat/2750").rename(tmp_path / "eurosat/EuroSAT_RGB")
    found = load_dataset("eurosat", root=tmp_path)
    assert [len(items) for items in splits(found)] == [len(items) for items in splits(before)] == [50, 20, 30]
    assert found.train[0].path.startswith("EuroSAT_RGB/AnnualCrop/AnnualCrop_")
    folders = {item.label: Path(item.path).parent.name for item in before.train}
    rows = {
        split: [(f"{folder}/{folder}_{number}.jpg", label, folder) for label, folder in sorted(folders.items())]
        for split, number in (("train", 1), ("val", 2), ("test", 3))
    }
    (tmp_path / "eurosat/split_zhou_EuroSAT.json").write_text(json.dumps(rows))
    assert load_dataset("eurosat", root=tmp_path).train[1].path == "EuroSAT_RGB/Forest/Forest_1.jpg"


@pytest.mark.parametrize(
    ("name", "make", "folder", "other", "called"),
    [
        ("eurosat", trees.eurosat, "eurosat/2750", "eurosat/EuroSAT", "2750 or EuroSAT_RGB"),
        (
            "caltech101",
            trees.caltech101,
            "caltech101/101_ObjectCategories",
            "caltech-101/images",
            "101_ObjectCategories",
        ),
    ],
)
def test_class_folders_under_another_name(
    name: str, make: Callable[[Path], None], folder: str, other: str, called: str, tmp_path: Path
) -> None:
    make(tmp_path)
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / folder).rename(tmp_path / other)
    with pytest.raises(VLPromptError) as caught:
        load_dataset(name, root=tmp_path)
    assert f"{tmp_path / other} has folders of its classes, which must be called {called}" in str(caught.value)
