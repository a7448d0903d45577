"""ImageNet's classes in other domains, for testing only."""

from pathlib import Path

from vlprompt.data.datasets.annotation_files import class_folders, strange_folders
from vlprompt.data.datasets.imagenet import read_synsets, read_words
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

V2 = "imagenetv2-matched-frequency-format-val"


def read_numbers(root: Path, classes: ClassList) -> Listing:
    """Read class folders named by label, 0 to 999, which alphabetical order would mix up."""
    numbers = ClassList(tuple(str(label) for label in range(len(classes.keys))), classes.words)
    items, problems = class_folders(root, V2, numbers)
    problems += strange_folders(root / V2, numbers)
    listing = Listing(root, test=items, problems=problems, listed=False)
    read_words(listing, classes)
    return listing


class ImageNetV2(OnDisk):
    """New photographs of ImageNet's classes, matched in frequency."""

    name = "imagenet-v2"
    names = "imagenet"
    license = "MIT (of its repository)"
    url = "https://github.com/modestyachts/ImageNetV2"
    layouts = (
        Layout(
            title="the archive's folders",
            folders=("imagenetv2", "."),
            needs=(V2,),
            read=read_numbers,
            sizes={"test": Size(10000, (10, 10))},
            fetch=(
                f"{V2}/ from imagenetv2-matched-frequency.tar.gz, linked at https://github.com/modestyachts/ImageNetV2",
            ),
        ),
    )


class ImageNetSketch(OnDisk):
    """Black-and-white drawings of ImageNet's classes."""

    name = "imagenet-sketch"
    names = "imagenet"
    license = "MIT (of its repository)"
    url = "https://github.com/HaohanWang/ImageNet-Sketch"
    layouts = tuple(
        Layout(
            title=title,
            folders=("imagenet-sketch",),
            needs=(folder,),
            read=read_synsets("", folder),
            sizes={"test": Size(50889)},
            fetch=(f"{folder}/SYNSET/ from the archive linked at https://github.com/HaohanWang/ImageNet-Sketch",),
        )
        for title, folder in (("CoOp's folders", "images"), ("the archive's folders", "sketch"))
    )


class ImageNetA(OnDisk):
    """Photographs of 200 of ImageNet's classes that mislead a ResNet-50."""

    name = "imagenet-a"
    license = "MIT (of its repository)"
    url = "https://github.com/hendrycks/natural-adv-examples"
    layouts = (
        Layout(
            title="the archive's folders",
            folders=("imagenet-adversarial", "."),
            needs=("imagenet-a",),
            read=read_synsets("", "imagenet-a"),
            sizes={"test": Size(7500)},
            fetch=("imagenet-a/ from imagenet-a.tar, linked at https://github.com/hendrycks/natural-adv-examples",),
        ),
    )


class ImageNetR(OnDisk):
    """Art, toys and other renditions of 200 of ImageNet's classes."""

    name = "imagenet-r"
    license = "MIT (of its repository)"
    url = "https://github.com/hendrycks/imagenet-r"
    layouts = (
        Layout(
            title="the archive's folders",
            folders=("imagenet-rendition", "."),
            needs=("imagenet-r",),
            read=read_synsets("", "imagenet-r"),
            sizes={"test": Size(30000)},
            fetch=("imagenet-r/ from imagenet-r.tar, linked at https://github.com/hendrycks/imagenet-r",),
        ),
    )
