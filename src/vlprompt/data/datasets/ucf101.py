"""UCF101, the middle frame of each video."""

import re
from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import check_keys, label_of, read_lines
from vlprompt.data.datasets.coop_splits import split_json, split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

IMAGES, LISTS = "UCF-101-midframes", "ucfTrainTestlist"
SIZES = {"train": Size(7639), "val": Size(1898), "test": Size(3783)}
FETCH = (
    f"{IMAGES}/ from {IMAGES}.zip, https://drive.google.com/file/d/10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O "
    "(linked in DATASETS.md of CoOp)",
)


def read_lists(root: Path, classes: ClassList) -> Listing:
    """Read the first official split: `classInd.txt`, and lists of videos, whose names give the middle frames."""
    path = root / LISTS / "classInd.txt"
    check_keys(path, [line.partition(" ")[2] for line in read_lines(path)], classes)
    train, val = split_off_val(_read_list(root / LISTS / "trainlist01.txt", classes))
    return Listing(root, train, val, _read_list(root / LISTS / "testlist01.txt", classes))


def _read_list(path: Path, classes: ClassList) -> list[Item]:
    items = []
    for line in read_lines(path):
        action, _, video = line.split()[0].partition("/")
        folder = "_".join(re.findall("[A-Z][^A-Z]*", action))
        items.append(Item(f"{IMAGES}/{folder}/{video.removesuffix('.avi')}.jpg", label_of(path, action, classes)))
    return items


class UCF101(OnDisk):
    """Video frames of 101 human actions."""

    name = "ucf101"
    template = "a photo of a person doing {}."
    license = "none stated; research use"
    url = "https://www.crcv.ucf.edu/data/UCF101.php"
    layouts = (
        split_json("ucf101", IMAGES, "split_zhou_UCF101.json", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y", SIZES, FETCH),
        Layout(
            title="the first official split, with validation images split off by vlprompt",
            folders=("ucf101",),
            needs=(IMAGES, *(f"{LISTS}/{name}" for name in ("classInd.txt", "trainlist01.txt", "testlist01.txt"))),
            read=read_lists,
            sizes=SIZES,
            fetch=(
                *FETCH,
                f"{LISTS}/ from UCF101TrainTestSplits-RecognitionTask.zip, https://www.crcv.ucf.edu/data/UCF101.php",
            ),
            standard=False,
        ),
    )
