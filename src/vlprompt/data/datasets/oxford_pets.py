"""Oxford-IIIT Pets."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, read_lines
from vlprompt.data.datasets.coop_splits import split_json, split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

SIZES = {"train": Size(2944), "val": Size(736), "test": Size(3669)}
IMAGES = ("images/ from images.tar.gz, https://www.robots.ox.ac.uk/~vgg/data/pets/",)


def read_lists(root: Path, classes: ClassList) -> Listing:
    """Read `annotations/trainval.txt` and `test.txt`: file stem, class from 1, and two further numbers."""
    train, val = split_off_val(_read_list(root / "annotations" / "trainval.txt", classes))
    return Listing(root, train, val, _read_list(root / "annotations" / "test.txt", classes))


def _read_list(path: Path, classes: ClassList) -> list[Item]:
    items = []
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        stem, *numbers = line.split()
        if not numbers or not numbers[0].isdigit() or not 1 <= int(numbers[0]) <= len(classes.keys):
            raise broken(path, f"{line!r} must have a class from 1 to {len(classes.keys)}")
        label, breed = int(numbers[0]) - 1, stem.rpartition("_")[0]
        if breed.lower() != classes.keys[label].lower():
            raise broken(path, f"{line!r} labels {breed!r} as {classes.keys[label]!r}")
        items.append(Item(f"images/{stem}.jpg", label))
    return items


class OxfordPets(OnDisk):
    """Photographs of 37 breeds of cats and dogs."""

    name = "oxford-pets"
    template = "a photo of a {}, a type of pet."
    license = "CC BY-SA 4.0"
    url = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    torchvision = "OxfordIIITPet"
    layouts = (
        split_json(
            "oxford_pets", "images", "split_zhou_OxfordPets.json", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs", SIZES, IMAGES
        ),
        Layout(
            title="the official lists, with validation images split off by vlprompt",
            folders=("oxford_pets", "oxford-iiit-pet"),
            needs=("images", "annotations/trainval.txt", "annotations/test.txt"),
            read=read_lists,
            sizes=SIZES,
            fetch=(*IMAGES, "annotations/ from annotations.tar.gz, from the same page"),
            standard=False,
        ),
    )
