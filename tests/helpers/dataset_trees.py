"""Small data folders in the original layouts: real file names and annotation formats, few images."""

import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from vlprompt.data.datasets.known import read_classes

_buffer = io.BytesIO()
Image.new("RGB", (4, 4), (90, 120, 30)).save(_buffer, "JPEG")
JPEG = _buffer.getvalue()

Split = dict[str, list[tuple[str, int, str]]]


def write_images(root: Path, paths: Iterable[str]) -> None:
    """Write distinct images: bytes after a JPEG's end marker are not decoded."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(JPEG + path.encode())


def lines(file: Path, content: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in content))


def split_json(file: Path, images: Path, rows: Split) -> None:
    """Write a split in CoOp's format, with its images."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows))
    write_images(images, [path for split in rows.values() for path, _, _ in split])


def field_split(name: str, path: Callable[[str, int], str], words: Callable[[str], str] = lambda word: word) -> Split:
    """Write two train, one val and one test image per class, last classes first."""
    classes = read_classes(name)
    rows: Split = {"train": [], "val": [], "test": []}
    for label in reversed(range(len(classes.keys))):
        key, word = classes.keys[label], words(classes.words[label])
        for number, split in enumerate(("train", "train", "val", "test"), start=1):
            rows[split].append((path(key, number), label, word))
    return rows


def caltech101(root: Path) -> None:
    """Write ten images per class, the two ignored folders, and torchvision's annotations."""
    keys = [*read_classes("caltech101").keys, "BACKGROUND_Google", "Faces_easy"]
    folder = root / "caltech101"
    write_images(folder, [f"101_ObjectCategories/{key}/image_{n:04}.jpg" for key in keys for n in range(1, 11)])
    (folder / "Annotations").mkdir()


def oxford_pets(root: Path) -> None:
    """Write five trainval images and one test image per class."""
    folder, keys = root / "oxford-iiit-pet", read_classes("oxford-pets").keys
    rows = {
        "trainval": [(f"{key}_{n}", label) for label, key in enumerate(keys, start=1) for n in (100, 12, 3, 7, 81)],
        "test": [(f"{key}_201", label) for label, key in enumerate(keys, start=1)],
    }
    for name, items in rows.items():
        lines(folder / "annotations" / f"{name}.txt", [f"{stem} {label} 2 {label % 25}" for stem, label in items])
        write_images(folder / "images", [f"{stem}.jpg" for stem, _ in items])
    (folder / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")


def stanford_cars(root: Path) -> None:
    """Write five training images and one test image per class, in the devkit's MATLAB structures."""
    folder, keys = root / "stanford_cars", read_classes("stanford-cars").keys
    (folder / "devkit").mkdir(parents=True)
    names = np.empty((1, len(keys)), dtype=object)
    names[0, :] = keys
    savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    train = [(f"{5 * label + n + 1:05}.jpg", label + 1) for label in range(len(keys)) for n in range(5)]
    test = [(f"{label + 1:05}.jpg", label + 1) for label in range(len(keys))]
    for images, file, rows in (
        ("cars_train", "devkit/cars_train_annos.mat", train),
        ("cars_test", "cars_test_annos_withlabels.mat", test),
    ):
        savemat(folder / file, {"annotations": car_annotations(rows)})
        write_images(folder / images, [name for name, _ in rows])


def car_annotations(rows: list[tuple[str, int]]) -> Any:
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    found = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for index, (name, label) in enumerate(rows):
        found[0, index] = (39, 116, 569, 375, label, name)
    return found


def flowers102(root: Path) -> None:
    """Write four interleaved images per class: one for train, one for val and two for test."""
    folder, count = root / "flowers-102", 102
    labels = [label for _ in range(4) for label in range(1, count + 1)]
    write_images(folder, [f"jpg/image_{number:05}.jpg" for number in range(1, len(labels) + 1)])
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    parts = {"trnid": range(1, 103), "valid": range(103, 205), "tstid": range(205, 409)}
    savemat(folder / "setid.mat", {name: np.array([list(ids)], dtype=np.uint16) for name, ids in parts.items()})


def food101(root: Path) -> None:
    folder, keys = root / "food-101", read_classes("food101").keys
    train = {key: [f"{key}/{1000 + n}" for n in range(5)] for key in keys}
    test = {key: [f"{key}/{2000 + n}" for n in range(2)] for key in reversed(keys)}
    for name, content in (("train", train), ("test", test)):
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / f"meta/{name}.json").write_text(json.dumps(content))
        lines(folder / f"meta/{name}.txt", [stem for stems in content.values() for stem in stems])
        write_images(folder / "images", [f"{stem}.jpg" for stems in content.values() for stem in stems])
    lines(folder / "meta/classes.txt", keys)


def fgvc_aircraft(root: Path, folder: str = "fgvc-aircraft-2013b/data") -> None:
    keys = read_classes("fgvc-aircraft").keys
    lines(root / folder / "variants.txt", keys)
    number = 34973
    for split in ("train", "val", "test"):
        rows = []
        for key in keys:
            number += 1
            rows.append(f"{number:07} {key}")
        lines(root / folder / f"images_variant_{split}.txt", rows)
        write_images(root / folder / "images", [f"{row[:7]}.jpg" for row in rows])


def sun397(root: Path, partition: bool = True) -> None:
    """Write the archive and the first partition next to it."""
    keys = read_classes("sun397").keys
    write_images(root / "SUN397", [f"{key}/sun_{name}.jpg" for key in keys for name in "abcdef"])
    lines(root / "SUN397/ClassName.txt", [f"/{key}" for key in keys])
    if partition:
        lines(root / "Training_01.txt", [f"/{key}/sun_{name}.jpg" for key in keys for name in "abcde"])
        lines(root / "Testing_01.txt", [f"/{key}/sun_f.jpg" for key in keys])


def dtd(root: Path) -> None:
    folder, keys = root / "dtd/dtd", read_classes("dtd").keys
    for number, split in enumerate(("train", "val", "test"), start=2):
        lines(folder / f"labels/{split}1.txt", [f"{key}/{key}_{number:04}.jpg" for key in keys])
        write_images(folder / "images", [f"{key}/{key}_{number:04}.jpg" for key in keys])
    (folder / "imdb").mkdir()


def eurosat(root: Path) -> None:
    keys = read_classes("eurosat").keys
    write_images(root / "eurosat/2750", [f"{key}/{key}_{number}.jpg" for key in keys for number in range(1, 11)])


def ucf101(root: Path) -> None:
    folder, keys = root / "ucf101", read_classes("ucf101").keys
    lines(folder / "ucfTrainTestlist/classInd.txt", [f"{label} {key}" for label, key in enumerate(keys, start=1)])
    train = [
        f"{key}/v_{key}_g{group:02}_c01.avi {label}" for label, key in enumerate(keys, 1) for group in range(8, 13)
    ]
    test = [f"{key}/v_{key}_g01_c01.avi" for key in keys]
    lines(folder / "ucfTrainTestlist/trainlist01.txt", train)
    lines(folder / "ucfTrainTestlist/testlist01.txt", test)
    for line in (*train, *test):
        action, video = line.split()[0].split("/")
        renamed = "_".join(re.findall("[A-Z][^A-Z]*", action))
        write_images(folder / "UCF-101-midframes", [f"{renamed}/{video.replace('.avi', '.jpg')}"])


def synsets(folder: Path, keys: Iterable[str], images: int = 1) -> None:
    """Write class folders like those in ImageNet's archives."""
    write_images(folder, [f"{key}/{key}_{number}.JPEG" for key in keys for number in range(images)])


OFFICIAL: dict[str, Callable[[Path], None]] = {
    "caltech101": caltech101,
    "oxford-pets": oxford_pets,
    "stanford-cars": stanford_cars,
    "flowers102": flowers102,
    "food101": food101,
    "fgvc-aircraft": fgvc_aircraft,
    "sun397": sun397,
    "dtd": dtd,
    "eurosat": eurosat,
    "ucf101": ucf101,
}
