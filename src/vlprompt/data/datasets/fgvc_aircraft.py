"""FGVC-Aircraft, at the level of variants."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import check_keys, label_of, read_lines
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

LISTS = {split: f"images_variant_{split}.txt" for split in ("train", "val", "test")}


def read_lists(root: Path, classes: ClassList) -> Listing:
    """Read `images_variant_*.txt`: an image number, a space, and the class, which may contain spaces."""
    check_keys(root / "variants.txt", read_lines(root / "variants.txt"), classes)
    listing = Listing(root)
    for split, items in listing.splits().items():
        path = root / LISTS[split]
        for line in read_lines(path):
            number, _, key = line.partition(" ")
            items.append(Item(f"images/{number}.jpg", label_of(path, key, classes)))
    return listing


class FGVCAircraft(OnDisk):
    """Photographs of 100 variants of aircraft."""

    name = "fgvc-aircraft"
    template = "a photo of a {}, a type of aircraft."
    license = "non-commercial research only"
    url = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    torchvision = "FGVCAircraft"
    layouts = (
        Layout(
            title="the official split, which papers use",
            folders=("fgvc_aircraft", "fgvc-aircraft-2013b/data"),
            needs=("images", "variants.txt", *LISTS.values()),
            read=read_lists,
            sizes={"train": Size(3334, (33, 34)), "val": Size(3333, (33, 34)), "test": Size(3333, (33, 34))},
            fetch=(
                "data/ of fgvc-aircraft-2013b.tar.gz, https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/, "
                "renamed fgvc_aircraft/",
            ),
        ),
    )
