"""SUN397."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import check_keys, class_folders, label_of, read_lines
from vlprompt.data.datasets.coop_splits import split_in_three, split_json, split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

TRAIN, TEST = "Training_01.txt", "Testing_01.txt"
SIZES = {"train": Size(15880, (40, 40)), "val": Size(3970, (10, 10)), "test": Size(19850, (50, 50))}
IMAGES = ("SUN397/ from SUN397.tar.gz, https://vision.princeton.edu/projects/2010/SUN/",)


def read_partition(root: Path, classes: ClassList) -> Listing:
    """Read the first official partition: lines such as `/a/abbey/sun_aaalbzqrimafwbiv.jpg`."""
    train, val = split_off_val(_read_list(root / TRAIN, classes))
    return Listing(root, train, val, _read_list(root / TEST, classes))


def read_folders(root: Path, classes: ClassList) -> Listing:
    """Read all images of the archive and split them in three."""
    path = root / "ClassName.txt"
    check_keys(path, [line.lstrip("/") for line in read_lines(path)], classes)
    items, problems = class_folders(root, "", classes)
    return split_in_three(Listing(root, problems=problems, listed=False), items)


def _read_list(path: Path, classes: ClassList) -> list[Item]:
    names = [line.lstrip("/") for line in read_lines(path)]
    return [Item(f"SUN397/{name}", label_of(path, name.rpartition("/")[0], classes)) for name in names]


class SUN397(OnDisk):
    """Photographs of 397 scene classes."""

    name = "sun397"
    license = "none stated; research use"
    url = "https://vision.princeton.edu/projects/2010/SUN/"
    torchvision = "SUN397"
    layouts = (
        split_json("sun397", "SUN397", "split_zhou_SUN397.json", "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq", SIZES, IMAGES),
        Layout(
            title="the first official partition, with validation images split off by vlprompt",
            folders=("sun397", "."),
            needs=("SUN397", TRAIN, TEST),
            read=read_partition,
            sizes=SIZES,
            fetch=(*IMAGES, f"{TRAIN} and {TEST} from Partitions.zip, from the same page"),
            standard=False,
        ),
        Layout(
            title="all images, split by vlprompt",
            folders=("sun397/SUN397", "SUN397"),
            needs=("ClassName.txt",),
            read=read_folders,
            sizes={"all": Size(108754)},
            fetch=IMAGES,
            standard=False,
        ),
    )
