"""Caltech101 in 100 classes, as the field has it."""

from pathlib import Path

from vlprompt.data.known.base import Classes, Size
from vlprompt.data.known.files import class_folders, strange_folders
from vlprompt.data.known.on_disk import Layout, Listing, OnDisk
from vlprompt.data.known.split_json import split_json
from vlprompt.data.known.splitting import split_in_three

IMAGES = "101_ObjectCategories"
# The field leaves out the clutter, and the second folder of faces.
IGNORED = frozenset({"BACKGROUND_Google", "Faces_easy"})
SIZES = {"train": Size(4128), "val": Size(1649), "test": Size(2465)}
FETCH = (f"{IMAGES}/ from caltech-101.zip, https://data.caltech.edu/records/mzrjq-6wc02",)


def read_folders(root: Path, classes: Classes) -> Listing:
    """Class folders, split in three."""
    items, problems = class_folders(root, IMAGES, classes)
    problems += strange_folders(root / IMAGES, classes, IGNORED)
    return split_in_three(Listing(root, problems=problems, listed=False), items)


class Caltech101(OnDisk):
    """Pictures of 100 kinds of objects and animals."""

    name = "caltech101"
    licence = "CC BY 4.0"
    url = "https://data.caltech.edu/records/mzrjq-6wc02"
    torchvision = "Caltech101"
    layouts = (
        split_json(
            "caltech-101", IMAGES, "split_zhou_Caltech101.json", "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN", SIZES, FETCH
        ),
        Layout(
            title="class folders, split here",
            folders=("caltech-101", "caltech101"),
            needs=(IMAGES,),
            read=read_folders,
            sizes=SIZES,
            fetch=FETCH,
            standard=False,
        ),
    )
