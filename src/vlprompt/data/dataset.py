"""A dataset: a folder of images, the words for its classes, and three lists of (path, label)."""

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

from vlprompt.data.class_names import as_words
from vlprompt.data.file_facts import content_hashes
from vlprompt.data.sampling import ClassSubset, class_half, sample_shots
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

MAX_VAL_SHOTS = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a dataset.

    Attributes:
        path: relative to the dataset's root, with slashes on every system.
        label: index into the dataset's class names.

    Examples:
        >>> Item("cat/1.jpg", 0)
        Item(path='cat/1.jpg', label=0)
    """

    path: str
    label: int


@dataclass(frozen=True)
class Dataset:
    """Images of known classes, split into train, val and test.

    `class_names` are made words (`as_words`), all different and none empty; no code after this needs to.

    Attributes:
        name: what messages, records and tables call it.
        root: folder that the items' paths are relative to.
        class_names: words for the classes (C), in the order of the labels.
        train: images to learn from.
        val: images to choose settings by; may be empty.
        test: images to measure on; may be empty.
        template: default prompt, with one `{}` for the class name.
        license: of the images.
        source: where the images come from: an address, or what `load_dataset` was called with.
        skipped: (path, reason) of files that could not be read. They are in none of the splits.
        shifted: names of datasets of the same classes, or of some of them, in other domains.
        drawn: (shots, seed) if `train` and `val` are a few-shot draw already.

    Raises:
        VLPromptError: a class name is empty, or two are the same words.

    Examples:
        >>> items = (Item("cat/1.jpg", 0), Item("sea_lion/1.jpg", 1))
        >>> dataset = Dataset("pets", Path("images"), ("cat", "sea_lion"), train=items, val=(), test=())
        >>> dataset.class_names
        ('cat', 'sea lion')
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]
    template: str = "a photo of a {}."
    license: str = ""
    source: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    shifted: tuple[str, ...] = ()
    drawn: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "class_names", as_words(self.class_names))
        except VLPromptError as error:
            raise VLPromptError(f"dataset {self.name!r}: {error}") from error

    def splits(self) -> dict[str, tuple[Item, ...]]:
        """Return the images of train, val and test, by these names."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def few_shot(self, shots: int, seed: int) -> "Dataset":
        """Draw `shots` training and min(shots, 4) validation images of each class.

        A seed draws the same images as in Dassl and CoOp. As there, sample before `subset`: the draw runs over all
        classes. A class with fewer images gives all of them, and a log line says so. Of a dataset that is a draw
        already, that many shots or more are all of its images, whatever the seed.

        Raises:
            VLPromptError: `shots` is below 1, or there are no training images.
        """
        if shots < 1:
            raise VLPromptError(f"`shots` must be at least 1, got {shots}")
        if not self.train:
            raise VLPromptError(f"dataset {self.name!r} has no training images to draw {shots} shots from")
        for name, count in self.short_of(shots).items():
            have = f"{count} training image{'s' * (count > 1)}"
            logger.info("class %r has %s; all of them are its %d shots", name, have, shots)
        if self.drawn is not None and shots >= self.drawn[0]:
            return self
        rng = random.Random(seed)
        train = sample_shots(self.train, shots, rng)
        val = sample_shots(self.val, min(shots, MAX_VAL_SHOTS), rng)
        return replace(self, train=tuple(train), val=tuple(val), drawn=(shots, seed))

    def short_of(self, shots: int) -> dict[str, int]:
        """Return the classes with fewer than `shots` training images, but not without: their numbers by name."""
        counts = Counter(item.label for item in self.train)
        return {self.class_names[label]: count for label, count in counts.items() if count < shots}

    def subset(self, classes: ClassSubset) -> "Dataset":
        """Return the dataset of base classes (the first ceil(C / 2)) or new ones (the rest), relabeled from 0.

        Raises:
            VLPromptError: there are no such classes.
        """
        if classes not in get_args(ClassSubset):
            raise VLPromptError(f"`classes` must be one of {', '.join(get_args(ClassSubset))}, got {classes!r}")
        kept = class_half(len(self.class_names), classes)
        if not kept:
            raise VLPromptError(f"dataset {self.name!r} has only one class, so there are no new classes")

        def relabel(items: tuple[Item, ...]) -> tuple[Item, ...]:
            return tuple(Item(item.path, kept.index(item.label)) for item in items if item.label in kept)

        return replace(
            self,
            class_names=tuple(self.class_names[label] for label in kept),
            train=relabel(self.train),
            val=relabel(self.val),
            test=relabel(self.test),
        )

    def split_hash(self) -> str:
        """Return the SHA-256 (hex) over the class names and every (split, path, label), in order. Reads no image."""
        return self._split_hash

    @cached_property
    def learned(self) -> "Dataset":
        """The dataset without its test images: what a run learns from."""
        return replace(self, test=())

    @cached_property
    def _split_hash(self) -> str:  # cached, since every cell of a grid asks for that of its pool
        return hash_of_split(self.class_names, self.splits())

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over the class names and every (split, label, SHA-256 of the file), in order.

        Datasets with the same images have the same hash, whatever their folders and files are called. A file is
        read once, and again after it has changed.

        Raises:
            ImageError: a file cannot be read.
        """
        images = [(split, item) for split, items in self.splits().items() for item in items]
        hashes = content_hashes(self.root, [item.path for _, item in images])
        return hash_of_images(
            self.class_names,
            ((split, item.label, found) for (split, item), found in zip(images, hashes, strict=True)),
        )


def hash_of_split(class_names: Iterable[str], splits: Mapping[str, Iterable[Item]]) -> str:
    """Return the SHA-256 (hex) over class names and every (split, path, label), in order."""
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(f"class\0{name}\n".encode())
    for split, items in splits.items():
        for item in items:
            digest.update(f"{split}\0{item.path}\0{item.label}\n".encode())
    return digest.hexdigest()


def hash_of_images(class_names: Iterable[str], images: Iterable[tuple[str, int, str]]) -> str:
    """Return the SHA-256 (hex) over class names and every (split, label, hash of the image), in order."""
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(f"class\0{name}\n".encode())
    for split, label, image in images:
        digest.update(f"{split}\0{label}\0{image}\n".encode())
    return digest.hexdigest()


def with_slashes(root: Path, path: str) -> str:
    r"""Return a path below `root` with slashes for backslashes, unless there is a file with backslashes in its name."""
    return path.replace("\\", "/") if "\\" in path and not (root / path).exists() else path
