"""EuroSAT in colour."""

from pathlib import Path

from vlprompt.data.known.base import Classes, Size
from vlprompt.data.known.files import class_folders, strange_folders
from vlprompt.data.known.on_disk import Layout, Listing, OnDisk
from vlprompt.data.known.split_json import split_json
from vlprompt.data.known.splitting import split_in_three

IMAGES = "2750"
SIZES = {"train": Size(13500, (1000, 1500)), "val": Size(5400, (400, 600)), "test": Size(8100, (600, 900))}
FETCH = (f"{IMAGES}/ from EuroSAT.zip (the one in RGB), https://github.com/phelber/EuroSAT",)


def read_folders(root: Path, classes: Classes) -> Listing:
    """Class folders, split in three."""
    items, problems = class_folders(root, IMAGES, classes)
    problems += strange_folders(root / IMAGES, classes)
    return split_in_three(Listing(root, problems=problems, listed=False), items)


class EuroSAT(OnDisk):
    """Satellite pictures of 10 kinds of land."""

    name = "eurosat"
    template = "a centered satellite photo of {}."
    licence = "MIT"
    url = "https://github.com/phelber/EuroSAT"
    torchvision = "EuroSAT"
    layouts = (
        split_json("eurosat", IMAGES, "split_zhou_EuroSAT.json", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o", SIZES, FETCH),
        Layout(
            title="class folders, split here",
            folders=("eurosat",),
            needs=(IMAGES,),
            read=read_folders,
            sizes=SIZES,
            fetch=FETCH,
            standard=False,
        ),
    )
