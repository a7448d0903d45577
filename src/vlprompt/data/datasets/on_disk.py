"""Datasets of the field: where their images lie below a data folder, and how each layout is read."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.known import Classes, Known, Size, read_classes
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")


@dataclass
class Listing:
    """What a reader found.

    Attributes:
        root: the folder that paths are relative to.
        train: images with their labels, in the order that shots are drawn from; so are `val` and `test`.
        words: the words for classes by label, where the files have their own.
        problems: what does not fit the dataset's classes, for people.
        listed: an annotation file names the images, so they may be missing.
    """

    root: Path
    train: list[Item] = field(default_factory=list)
    val: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    words: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    listed: bool = True

    def splits(self) -> dict[str, list[Item]]:
        """The three lists by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def missing(self) -> list[str]:
        """Paths that are not there. Each folder is read once, which is faster than asking for each file."""
        if not self.listed:
            return []
        there: dict[str, set[str]] = {}
        lost = []
        for items in self.splits().values():
            for item in items:
                folder, _, file = item.path.rpartition("/")
                if folder not in there:
                    there[folder] = set(_names(self.root / folder))
                if file not in there[folder]:
                    lost.append(item.path)
        return lost


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except OSError:
        return


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset lies on disk.

    Attributes:
        title: says whose way it is.
        folders: where it may lie below the data folder.
        needs: files and folders in there that make it this layout.
        read: from the folder and the classes to what is in it.
        sizes: published sizes by split; "all" where there is no published split.
        fetch: what to get from where, a line each.
        standard: its split is the field's, or the only one there is.
    """

    title: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, Classes], Listing]
    sizes: Mapping[str, Size]
    fetch: tuple[str, ...]
    standard: bool = True

    def lacks(self, folder: Path) -> list[str]:
        """What of `needs` is not in a folder."""
        return [name for name in self.needs if not (folder / name).exists()]


@dataclass(frozen=True)
class Found:
    """A layout, and the folder that it was found in."""

    layout: Layout
    folder: Path


class OnDisk(Known):
    """A dataset whose images the user has.

    Attributes:
        layouts: those that are looked for, in this order.
        names: its file of classes, where it is not called as the dataset.
        torchvision: the class of `torchvision.datasets` that downloads it; None where there is none.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    names: ClassVar[str | None] = None
    torchvision: ClassVar[str | None] = None

    @property
    def classes(self) -> Classes:
        """Its classes."""
        return read_classes(self.names or self.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The words for its classes, which need no images."""
        return self.classes.words

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Published sizes of the field's own split, or of the official one where the field has none."""
        return self.layouts[0].sizes

    def where(self, root: Path | None = None) -> str | None:
        """The folder it was found in; None if it is nowhere below the data folder."""
        found = self.find(root)
        return None if found is None else str(found.folder)

    def find(self, root: Path | None = None) -> Found | None:
        """The first of its layouts that is there."""
        for layout in self.layouts:
            for folder in layout.folders:
                if not layout.lacks(data_root(root) / folder):
                    return Found(layout, data_root(root) / folder)
        return None

    def tried(self, root: Path | None = None) -> str:
        """Which folders were looked for, and what those that are there lack, for people."""
        lacks: dict[str, list[str]] = {}
        for layout in self.layouts:
            for name in layout.folders:
                lacks.setdefault(name, []).append(", ".join(layout.lacks(data_root(root) / name)))
        parts = []
        for name, ways in lacks.items():
            folder = data_root(root) / name
            parts.append(f"{folder} lacks {'; or '.join(ways)}" if folder.is_dir() else f"there is no {folder}")
        return "; ".join(parts)

    def __call__(self, root: Path | None = None) -> Dataset:
        """Load it, without opening an image.

        Raises:
            VLPromptError: none of the layouts is there; an annotation file cannot be read; images that it names are
                not there.
        """
        found = self.find(root)
        if found is None:
            raise VLPromptError(
                f"the images of {self.name} are not here: {self.tried(root)}; `vlprompt data check {self.name}` says "
                "what to fetch from where; another data folder: --root DIR, or VLPROMPT_DATA"
            )
        listing = found.layout.read(found.folder, self.classes)
        lost = listing.missing()
        if lost:
            raise VLPromptError(
                f"{len(lost)} images of {self.name} are not in {listing.root}, the first is {lost[0]}; see "
                f"`vlprompt data check {self.name}`"
            )
        if not any(listing.splits().values()):
            raise VLPromptError(
                f"{self.name} has no images in its class folders; see `vlprompt data check {self.name}`"
            )
        for problem in listing.problems:
            logger.warning("%s: %s", self.name, problem)
        if found.layout.standard:
            logger.info("%s: %s, in %s", self.name, found.layout.title, found.folder)
        else:
            logger.warning("%s: %s, in %s; it is not the field's split", self.name, found.layout.title, found.folder)
        return self.dataset(listing)

    def dataset(self, listing: Listing) -> Dataset:
        """What a reader found as a dataset. Words in the files go over ours, since their labels are meant with them."""
        words = [listing.words.get(label, word) for label, word in enumerate(self.class_names)]
        return Dataset(
            name=self.name,
            root=listing.root,
            class_names=tuple(words),
            train=tuple(listing.train),
            val=tuple(listing.val),
            test=tuple(listing.test),
            template=self.template,
            license=self.license,
            source=self.url,
            shifted=self.shifted,
        )


def data_root(root: Path | None = None) -> Path:
    """The data folder: `root`, else `VLPROMPT_DATA`, else `data`."""
    return Path(root or os.environ.get("VLPROMPT_DATA") or "data").expanduser()
