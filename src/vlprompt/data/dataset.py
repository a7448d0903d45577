"""A dataset is a folder of images, the words for its classes, and three lists of (path, label)."""

import hashlib
import logging
import random
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

from vlprompt.data.hashes import combined_hash, content_hashes
from vlprompt.data.sampling import Classes, class_half, sample_shots
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

MAX_VAL_SHOTS = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One image: its POSIX path relative to the dataset's root, and its index into the class names."""

    path: str
    label: int


@dataclass(frozen=True)
class Dataset:
    """Images of known classes, split into train, val and test. `val` and `test` may be empty.

    `class_names` are words as they go into a prompt; `template` is the prompt's default, with one `{}`.
    `skipped` holds (path, reason) of the files that could not be read and are in none of the splits.
    `shifted` names datasets of the same classes, or of some of them, in other domains.
    `drawn` is (shots, seed) where `train` and `val` are a few-shot draw already.
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

    def splits(self) -> dict[str, tuple[Item, ...]]:
        """The images of train, val and test, by these names."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def few_shot(self, shots: int, seed: int) -> "Dataset":
        """The dataset with `shots` training and min(shots, 4) validation images of each class.

        The same seed draws the same images as Dassl and CoOp do. Sample before `subset`, as they do: the draw
        runs over all classes. A class with fewer images gives all of them, which a log line says. Of a dataset that is
        drawn already, as many shots or more are all of its images, whatever the seed.
        """
        if shots < 1:
            raise VLPromptError(f"shots must be at least 1, not {shots}")
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
        """Classes with training images, but fewer than `shots`: how many, by name."""
        counts = Counter(item.label for item in self.train)
        return {self.class_names[label]: count for label, count in counts.items() if count < shots}

    def subset(self, classes: Classes) -> "Dataset":
        """The dataset of base classes (the first ceil(C / 2)) or new ones (the rest), relabeled from 0."""
        if classes not in get_args(Classes):
            raise VLPromptError(f"classes must be one of {', '.join(get_args(Classes))}, not {classes!r}")
        kept = class_half(len(self.class_names), classes)
        if not kept:
            raise VLPromptError(f"dataset {self.name!r} has one class only, so it has no new classes")

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
        """SHA-256 (hex) over the class names and every (split, path, label), in their order. It reads no image."""
        return self._split_hash

    @cached_property
    def learned(self) -> "Dataset":
        """The dataset without test images: what is learned from."""
        return replace(self, test=())

    @cached_property
    def _split_hash(self) -> str:  # every cell of a grid asks for that of its pool
        digest = hashlib.sha256()
        for name in self.class_names:
            digest.update(f"class\0{name}\n".encode())
        for split, items in self.splits().items():
            for item in items:
                digest.update(f"{split}\0{item.path}\0{item.label}\n".encode())
        return digest.hexdigest()

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over the class names and every (split, label, SHA-256 of the file), in their order.

        Files are read once and remembered by size and modification time. Datasets that lie in other folders and under
        other names have the same if their images are the same. ImageError where one cannot be read.
        """
        images = [(split, item) for split, items in self.splits().items() for item in items]
        hashes = content_hashes(self.root, [item.path for _, item in images])
        return combined_hash(
            self.class_names,
            ((split, item.label, found) for (split, item), found in zip(images, hashes, strict=True)),
        )
