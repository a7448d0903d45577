"""Caltech101 in 100 classes, as in CoOp."""

from vlprompt.data.datasets.coop_splits import read_in_three, split_json
from vlprompt.data.datasets.known import Size
from vlprompt.data.datasets.on_disk import Layout, OnDisk

IMAGES = "101_ObjectCategories"
# CoOp excludes the clutter and the second folder of faces.
IGNORED = frozenset({"BACKGROUND_Google", "Faces_easy"})
SIZES = {"train": Size(4128), "val": Size(1649), "test": Size(2465)}
FETCH = (f"{IMAGES}/ from caltech-101.zip, https://data.caltech.edu/records/mzrjq-6wc02",)


class Caltech101(OnDisk):
    """Images of 100 object and animal classes."""

    name = "caltech101"
    license = "CC BY 4.0"
    url = "https://data.caltech.edu/records/mzrjq-6wc02"
    torchvision = "Caltech101"
    layouts = (
        split_json(
            "caltech-101", IMAGES, "split_zhou_Caltech101.json", "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN", SIZES, FETCH
        ),
        Layout(
            title="class folders, split by vlprompt",
            folders=("caltech-101", "caltech101"),
            needs=(IMAGES,),
            read=read_in_three(IMAGES, IGNORED),
            sizes=SIZES,
            fetch=FETCH,
            standard=False,
        ),
    )
