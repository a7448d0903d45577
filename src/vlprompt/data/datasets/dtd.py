"""The Describable Textures Dataset."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import label_of, read_lines
from vlprompt.data.datasets.coop_splits import split_json
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

LISTS = {split: f"labels/{split}1.txt" for split in ("train", "val", "test")}
SIZES = {"train": Size(2820, (60, 60)), "val": Size(1128, (24, 24)), "test": Size(1692, (36, 36))}
FETCH = ("images/ and labels/ from dtd-r1.0.1.tar.gz, https://www.robots.ox.ac.uk/~vgg/data/dtd/",)


def read_lists(root: Path, classes: ClassList) -> Listing:
    """Read the first official split, `labels/*1.txt`: lines such as `banded/banded_0002.jpg`."""
    listing = Listing(root)
    for split, items in listing.splits().items():
        path = root / LISTS[split]
        for line in read_lines(path):
            items.append(Item(f"images/{line}", label_of(path, line.partition("/")[0], classes)))
    return listing


class DTD(OnDisk):
    """Photographs of 47 texture classes."""

    name = "dtd"
    template = "{} texture."
    license = "research use only"
    url = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    torchvision = "DTD"
    layouts = (
        split_json(
            "dtd", "images", "split_zhou_DescribableTextures.json", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x", SIZES, FETCH
        ),
        Layout(
            title="the first official split",
            folders=("dtd", "dtd/dtd"),
            needs=("images", *LISTS.values()),
            read=read_lists,
            sizes={split: Size(1880, (40, 40)) for split in LISTS},
            fetch=FETCH,
            standard=False,
        ),
    )
