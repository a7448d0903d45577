"""Datasets on the user's disk: where their images are below the data folder, and how each layout is read."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vlprompt.data.class_names import as_words, find_twins
from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.known import ClassList, Known, Size, read_classes
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")


@dataclass
class Listing:
    """Images and class names that a reader found in a folder.

    Attributes:
        root: folder that paths are relative to.
        train: images with their labels, in the order that shots are drawn from.
        val: the same of the validation images.
        test: the same of the test images.
        words: words for classes, by label, that the files give and that differ from ours.
        problems: one line for each mismatch with the dataset's classes.
        listed: whether an annotation file names the images, so that some may be missing.
    """

    root: Path
    train: list[Item] = field(default_factory=list)
    val: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    words: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    listed: bool = True

    def splits(self) -> dict[str, list[Item]]:
        """Return the three lists by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def use_words(self, names: Mapping[int, str], classes: ClassList) -> None:
        """Set `words` to a file's class names, but for those that it, or we, also call another class by."""
        words = list(classes.words)
        for label, name in names.items():
            words[label] = as_words([name])[0]
        while twins := find_twins(words):
            for label in twins:
                words[label] = classes.words[label]
        self.words = {label: word for label, word in enumerate(words) if word != classes.words[label]}

    def missing(self) -> list[str]:
        """Return the paths without a file. Listing folders is faster than asking for each file."""
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
    """One way in which a dataset is stored on disk.

    Attributes:
        title: whose layout it is.
        folders: where it may be below the data folder.
        needs: files and folders in there that identify the layout.
        read: called with the folder and the classes.
        sizes: published sizes by split; by "all" if no split is published.
        fetch: what to download from where, a line each.
        standard: whether its split is the one that papers use, or the only one there is.
    """

    title: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, ClassList], Listing]
    sizes: Mapping[str, Size]
    fetch: tuple[str, ...]
    standard: bool = True

    def lacks(self, folder: Path) -> list[str]:
        """Return what of `needs` is missing in a folder."""
        return [name for name in self.needs if not (folder / name).exists()]


@dataclass(frozen=True)
class Found:
    """A layout, and the folder that it was found in."""

    layout: Layout
    folder: Path


class OnDisk(Known):
    """A dataset whose images the user has downloaded.

    Attributes:
        layouts: looked for in this order.
        names: name of its file of classes; None if that is the dataset's.
        torchvision: class of `torchvision.datasets` that downloads it, or None.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    names: ClassVar[str | None] = None
    torchvision: ClassVar[str | None] = None

    @property
    def classes(self) -> ClassList:
        """Its classes, in the order of their labels."""
        return read_classes(self.names or self.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Words for its classes; no images are needed."""
        return self.classes.words

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Published sizes of the split that papers use."""
        return self.layouts[0].sizes

    def where(self, root: Path | None = None) -> str | None:
        """Return the folder that it is in, or None if it is not below the data folder."""
        found = self.find(root)
        return None if found is None else str(found.folder)

    def find(self, root: Path | None = None) -> Found | None:
        """Return the first of its layouts that is there, or None."""
        for layout in self.layouts:
            for folder in layout.folders:
                if not layout.lacks(data_root(root) / folder):
                    return Found(layout, data_root(root) / folder)
        return None

    def tried(self, root: Path | None = None) -> str:
        """Return one line on the folders that were looked for, and what is missing in those that exist."""
        lacks: dict[str, list[str]] = {}
        for layout in self.layouts:
            for name in layout.folders:
                lacks.setdefault(name, []).append(", ".join(layout.lacks(data_root(root) / name)))
        parts = []
        for name, ways in lacks.items():
            folder = data_root(root) / name
            parts.append(f"{folder} lacks {'; or '.join(ways)}" if folder.is_dir() else f"{folder} does not exist")
        return "; ".join(parts)

    def __call__(self, root: Path | None = None) -> Dataset:
        """Load the dataset, without opening an image.

        Raises:
            VLPromptError: none of its layouts is there; an annotation file cannot be read; images that it names are
                missing.
        """
        found = self.find(root)
        if found is None:
            raise VLPromptError(
                f"the images of {self.name} were not found: {self.tried(root)}; a data check says "
                "what to download from where; set another data folder with `root` or VLPROMPT_DATA"
            )
        listing = found.layout.read(found.folder, self.classes)
        lost = listing.missing()
        if lost:
            raise VLPromptError(
                f"{len(lost)} images of {self.name} are not in {listing.root}, the first is {lost[0]}; a "
                "data check says what to download from where"
            )
        if not any(listing.splits().values()):
            raise VLPromptError(f"{self.name} has no images in its class folders; download them again")
        for problem in listing.problems:
            logger.warning("%s: %s", self.name, problem)
        if found.layout.standard:
            logger.info("%s: %s, in %s", self.name, found.layout.title, found.folder)
        else:
            logger.warning("%s: %s, in %s; papers use another split", self.name, found.layout.title, found.folder)
        return self.dataset(listing)

    def dataset(self, listing: Listing) -> Dataset:
        """Make a dataset of a listing. Words from the files replace ours, since their labels belong to them."""
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
    """Return the data folder: `root`, else `VLPROMPT_DATA`, else `data`."""
    return Path(root or os.environ.get("VLPROMPT_DATA") or "data").expanduser()
