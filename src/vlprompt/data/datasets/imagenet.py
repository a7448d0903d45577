"""ImageNet, with its validation images as the test set, as in the prompt-learning papers."""

from collections.abc import Callable
from pathlib import Path

from vlprompt.data.datasets.annotation_files import broken, class_folders, read_lines, strange_folders
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk
from vlprompt.utils.strings import counted, listed

Read = Callable[[Path, ClassList], Listing]

WORDS = "classnames.txt"
SORT = "torchvision.datasets.ImageNet or valprep.sh of github.com/soumith/imagenetloader.torch sorts them by synset"
SIZES = {"train": Size(1281167, (732, 1300)), "test": Size(50000, (50, 50))}


def read_synsets(train: str, test: str) -> Read:
    """Return a reader of synset folders in the folders `train`, which is optional, and `test`."""

    def read(root: Path, classes: ClassList) -> Listing:
        listing = Listing(root, listed=False)
        for folder, items in ((train, listing.train), (test, listing.test)):
            if folder and (root / folder).is_dir():
                found, problems = class_folders(root, folder, classes, SORT)
                items += found
                listing.problems += problems + strange_folders(root / folder, classes)
        read_words(listing, classes)
        return listing

    return read


def read_words(listing: Listing, classes: ClassList) -> None:
    """Use the class names in CoOp's `classnames.txt`, a synset and its words per line, if the file exists.

    It may be in the dataset's folder or in ImageNet's, so that a shifted dataset uses the names of its source.
    The file calls two classes "missile" and two "sunglasses"; these keep their built-in names.
    """
    root = listing.root
    paths = [folder / WORDS for folder in (root, root.parent / "imagenet", root / "imagenet")]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return
    lines = dict(line.partition(" ")[::2] for line in read_lines(path))
    absent = [key for key in classes.keys if not lines.get(key, "").strip()]
    if absent:
        raise broken(path, f"it has no words for {absent[0]}")
    listing.use_words({label: lines[key] for label, key in enumerate(classes.keys)}, classes)
    if listing.words:
        named = [
            f"{classes.keys[label]} is {word!r} instead of {classes.words[label]!r}"
            for label, word in listing.words.items()
        ]
        listing.notes.append(f"{path} replaces {counted(len(named), 'class name')}: {listed(named, 3, quote=False)}")
    owners = dict(zip(classes.words, classes.keys, strict=True))
    wrong = [
        f"{classes.keys[label]} is {word!r}, which is {owners[word]}"
        for label, word in listing.words.items()
        if word in owners
    ]
    if wrong:
        listing.problems.append(f"{path} gives classes the names of others: {listed(wrong, quote=False)}")


class ImageNet(OnDisk):
    """Photographs of 1,000 object and animal classes."""

    name = "imagenet"
    license = "terms of image-net.org: non-commercial research and education"
    url = "https://image-net.org"
    shifted = ("imagenet-v2", "imagenet-sketch", "imagenet-a", "imagenet-r")
    layouts = (
        Layout(
            title="CoOp's folders",
            folders=("imagenet",),
            needs=("images/val",),
            read=read_synsets("images/train", "images/val"),
            sizes=SIZES,
            fetch=(
                "images/train/SYNSET/ and images/val/SYNSET/ from the archives of ILSVRC2012, https://image-net.org "
                "(an account is needed)",
                f"{WORDS}, if you want CoOp's words: https://drive.google.com/file/d/1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF",
            ),
        ),
        Layout(
            title="torchvision's folders",
            folders=("imagenet",),
            needs=("val",),
            read=read_synsets("train", "val"),
            sizes=SIZES,
            fetch=(
                "train/SYNSET/ and val/SYNSET/: put the three archives of ILSVRC2012 there and call "
                "torchvision.datasets.ImageNet(FOLDER, split) for both splits, which unpacks and sorts them",
            ),
        ),
    )
