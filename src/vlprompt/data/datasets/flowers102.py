"""Oxford Flowers 102."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, read_mat
from vlprompt.data.datasets.coop_splits import split_in_three, split_json
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

LABELS, SPLITS = "imagelabels.mat", "setid.mat"
SIZES = {"train": Size(4093), "val": Size(1633), "test": Size(2463)}
OFFICIAL = {"train": Size(1020, (10, 10)), "val": Size(1020, (10, 10)), "test": Size(6149)}
IMAGES = "jpg/ from 102flowers.tgz, https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"


def read_official(root: Path, classes: ClassList) -> Listing:
    """Read `imagelabels.mat` (`labels` from 1) and `setid.mat` (`trnid`, `valid`, `tstid`: images, from 1)."""
    items = _read_labels(root, classes)
    path = root / SPLITS
    variables = ("trnid", "valid", "tstid")
    listing = Listing(root)
    for variable, found, part in zip(variables, read_mat(path, *variables), listing.splits().values(), strict=True):
        numbers = found.tolist()
        if not all(1 <= number <= len(items) for number in numbers):
            raise broken(path, f"{variable!r} must hold numbers from 1 to {len(items)}")
        part += [items[number - 1] for number in numbers]
    return listing


def read_labels(root: Path, classes: ClassList) -> Listing:
    """Read only `imagelabels.mat`, and split the images in three."""
    return split_in_three(Listing(root), _read_labels(root, classes))


def _read_labels(root: Path, classes: ClassList) -> list[Item]:
    path = root / LABELS
    labels = read_mat(path, "labels")[0].tolist()
    if not all(1 <= label <= len(classes.keys) for label in labels):
        raise broken(path, f"labels must be from 1 to {len(classes.keys)}")
    return [Item(f"jpg/image_{number:05}.jpg", int(label) - 1) for number, label in enumerate(labels, start=1)]


class Flowers102(OnDisk):
    """Photographs of 102 flower species common in the United Kingdom."""

    name = "flowers102"
    template = "a photo of a {}, a type of flower."
    license = "none stated; research use"
    url = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    torchvision = "Flowers102"
    layouts = (
        split_json(
            "oxford_flowers",
            "jpg",
            "split_zhou_OxfordFlowers.json",
            "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
            SIZES,
            (IMAGES,),
        ),
        Layout(
            title="the official split, with 10 training images per class",
            folders=("oxford_flowers", "flowers-102"),
            needs=("jpg", LABELS, SPLITS),
            read=read_official,
            sizes=OFFICIAL,
            fetch=(IMAGES, f"{LABELS} and {SPLITS}, from the same page"),
            standard=False,
        ),
        Layout(
            title="the official labels, split by vlprompt",
            folders=("oxford_flowers", "flowers-102"),
            needs=("jpg", LABELS),
            read=read_labels,
            sizes=SIZES,
            fetch=(IMAGES, f"{LABELS}, from the same page"),
            standard=False,
        ),
    )
