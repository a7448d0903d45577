"""Food-101."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, label_of, read_json
from vlprompt.data.datasets.coop_splits import split_json, split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

SIZES = {"train": Size(50500, (500, 500)), "val": Size(20200, (200, 200)), "test": Size(30300, (300, 300))}
OFFICIAL = {"train": Size(60600, (600, 600)), "val": Size(15150, (150, 150)), "test": Size(25250, (250, 250))}
FETCH = ("images/ and meta/ from food-101.tar.gz, https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",)


def read_meta(root: Path, classes: ClassList) -> Listing:
    """Read `meta/train.json` and `meta/test.json`: the images of each class, as CLASS/NUMBER."""
    train, val = split_off_val(_read_meta(root / "meta" / "train.json", classes))
    return Listing(root, train, val, _read_meta(root / "meta" / "test.json", classes))


def _read_meta(path: Path, classes: ClassList) -> list[Item]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise broken(path, "it is not a mapping of classes to images")
    labels = {key: label_of(path, key, classes) for key in content}
    return [Item(f"images/{stem}.jpg", labels[key]) for key, stems in content.items() for stem in stems]


class Food101(OnDisk):
    """Photographs of 101 dishes."""

    name = "food101"
    template = "a photo of {}, a type of food."
    license = "none stated; the images are from foodspotting.com"
    url = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
    torchvision = "Food101"
    layouts = (
        split_json("food-101", "images", "split_zhou_Food101.json", "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl", SIZES, FETCH),
        Layout(
            title="the official split, with validation images split off by vlprompt",
            folders=("food-101",),
            needs=("images", "meta/train.json", "meta/test.json"),
            read=read_meta,
            sizes=OFFICIAL,
            fetch=FETCH,
            standard=False,
        ),
    )
