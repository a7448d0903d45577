"""`Dataset`: a folder of images, class names, and labeled items for train, val and test."""

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
from vlprompt.data.folder_tree import LeftOut
from vlprompt.data.sampling import ClassSubset, class_half, sample_shots
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

MAX_VAL_SHOTS = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a dataset.

    Attributes:
        path: path relative to the dataset's root, with forward slashes on every system.
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

    `class_names` are normalized by `as_words`, so they are distinct and non-empty.

    Attributes:
        name: name in messages, records and tables.
        root: folder that the items' paths are relative to.
        class_names: C class names as words for prompts, in label order.
        train: training items.
        val: validation items; may be empty.
        test: test items; may be empty.
        template: default prompt, with one `{}` for the class name.
        license: license of the images.
        source: origin of the images: a URL, or the source given to `load_dataset`.
        skipped: (path, reason) of unreadable files, which are in no split.
        left_out: files in a folder that are not read as images, by suffix.
        split_seed: seed that the images were split with when they were loaded; None if they came with a split.
        tested_on: split of the source that `test` holds; "val" if it has no labeled test split.
        corrections: one line for each kind of problem that was corrected, such as images in two splits.
        shifted: names of datasets with the same classes, or some of them, in other domains.
        drawn: (shots, seed) if `train` and `val` are a few-shot sample, else None.

    Raises:
        VLPromptError: a class name is empty or duplicated.

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
    left_out: tuple[LeftOut, ...] = ()
    split_seed: int | None = None
    tested_on: str = "test"
    corrections: tuple[str, ...] = ()
    shifted: tuple[str, ...] = ()
    drawn: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "class_names", as_words(self.class_names))
        except VLPromptError as error:
            raise VLPromptError(f"dataset {self.name!r}: {error}") from error

    def splits(self) -> dict[str, tuple[Item, ...]]:
        """Return the items of "train", "val" and "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def few_shot(self, shots: int, seed: int) -> "Dataset":
        """Sample `shots` training and min(shots, 4) validation images per class.

        A seed selects the same images as in Dassl and CoOp. As there, sample before `subset`, since the random state
        runs over all classes. A class with fewer images contributes all of them, which is logged. A dataset without
        validation images takes them from the training images that were not drawn. A dataset that is already a sample
        of at most `shots` images per class is returned unchanged.

        Args:
            shots: number of training images per class.
            seed: seed of the sample.

        Raises:
            VLPromptError: `shots` is below 1, or there are no training images.

        Examples:
            >>> items = tuple(Item(f"{number}.jpg", number % 2) for number in range(10))
            >>> dataset = Dataset("pets", Path("images"), ("cat", "dog"), train=items, val=(), test=())
            >>> len(dataset.few_shot(2, seed=1).train)
            4
        """
        if shots < 1:
            raise VLPromptError(f"`shots` must be at least 1, got {shots}")
        if not self.train:
            raise VLPromptError(f"dataset {self.name!r} has no training images to sample {shots} shots from")
        for name, count in self.short_of(shots).items():
            have = f"{count} training image{'s' * (count > 1)}"
            logger.info("class %r has only %s for %d shots; using all", name, have, shots)
        if self.drawn is not None and shots >= self.drawn[0]:
            return self
        rng = random.Random(seed)
        train = sample_shots(self.train, shots, rng)
        drawn = set(train)
        held_out = self.val or [item for item in self.train if item not in drawn]
        val = sample_shots(held_out, min(shots, MAX_VAL_SHOTS), rng)
        return replace(self, train=tuple(train), val=tuple(val), drawn=(shots, seed))

    def short_of(self, shots: int) -> dict[str, int]:
        """Return the number of training images of each class that has some, but fewer than `shots`, by class name."""
        counts = Counter(item.label for item in self.train)
        return {self.class_names[label]: count for label, count in counts.items() if count < shots}

    def subset(self, classes: ClassSubset) -> "Dataset":
        """Restrict the dataset to a subset of its classes, relabeled from 0.

        Args:
            classes: "base" for the first ceil(C / 2) classes, "new" for the rest, or "all".

        Raises:
            VLPromptError: `classes` is unknown, or the subset is empty.

        Examples:
            >>> items = tuple(Item(f"{label}.jpg", label) for label in range(3))
            >>> dataset = Dataset("pets", Path("images"), ("cat", "dog", "hamster"), train=items, val=(), test=())
            >>> dataset.subset("new").class_names
            ('hamster',)
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
        """Return the SHA-256 (hex) of class names and every (split, path, label), in order. Images are not read."""
        return self._split_hash

    @cached_property
    def learned(self) -> "Dataset":
        """The dataset without its test images."""
        return replace(self, test=())

    @cached_property
    def for_testing(self) -> "Dataset":
        """The dataset with all of its images as test images, unless it came with a split."""
        if self.split_seed is None:
            return self
        items = sorted((*self.train, *self.val, *self.test), key=lambda item: (item.label, item.path))
        return replace(self, train=(), val=(), test=tuple(items), split_seed=None)

    @cached_property
    def _split_hash(self) -> str:  # cached: every cell of a grid needs it
        return hash_of_split(self.class_names, self.splits())

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the class names and every (split, label, SHA-256 of the file), in order.

        Datasets with the same images have the same hash, whatever their folders and files are called. Hashes of files
        are cached until a file changes.

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
    """Return the SHA-256 (hex) of class names and every (split, path, label), in order."""
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(f"class\0{name}\n".encode())
    for split, items in splits.items():
        for item in items:
            digest.update(f"{split}\0{item.path}\0{item.label}\n".encode())
    return digest.hexdigest()


def hash_of_images(class_names: Iterable[str], images: Iterable[tuple[str, int, str]]) -> str:
    """Return the SHA-256 (hex) of class names and every (split, label, hash of the image), in order."""
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(f"class\0{name}\n".encode())
    for split, label, image in images:
        digest.update(f"{split}\0{label}\0{image}\n".encode())
    return digest.hexdigest()


def with_slashes(root: Path, path: str) -> str:
    r"""Replace backslashes in a path below `root` by slashes, unless a file with backslashes in its name exists."""
    return path.replace("\\", "/") if "\\" in path and not (root / path).exists() else path
