"""Named datasets that users download: their layouts below the data folder, and how to read them."""

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
        train: training items, in the order used for few-shot sampling.
        val: validation items.
        test: test items.
        words: class names from the files that differ from the built-in ones, by label.
        problems: one line per mismatch with the dataset's classes.
        notes: one line per thing to know about the files, which is not a mismatch.
        listed: whether an annotation file lists the images, so that some may be missing.
    """

    root: Path
    train: list[Item] = field(default_factory=list)
    val: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    words: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: bool = True

    def splits(self) -> dict[str, list[Item]]:
        """Return the items of "train", "val" and "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def use_words(self, names: Mapping[int, str], classes: ClassList) -> None:
        """Set `words` to the class names of a file, except for names that another class has as well."""
        words = list(classes.words)
        for label, name in names.items():
            words[label] = as_words([name])[0]
        while twins := find_twins(words):
            for label in twins:
                words[label] = classes.words[label]
        self.words = {label: word for label, word in enumerate(words) if word != classes.words[label]}

    def missing(self) -> list[str]:
        """Return the paths of missing files. Listing folders is faster than a check per file."""
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


def _folder_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_dir()}
    except OSError:
        return set()


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except OSError:
        return


@dataclass(frozen=True)
class Layout:
    """Layout of a dataset on disk.

    Attributes:
        title: short description, such as "the official split".
        folders: possible folders, relative to the data folder.
        needs: files and folders in them that identify the layout.
        read: reader, called with the folder and the classes.
        sizes: published sizes by split, or of "all" images if no split is published.
        fetch: download instructions, one line each.
        standard: whether papers use this split, or there is no other.
    """

    title: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, ClassList], Listing]
    sizes: Mapping[str, Size]
    fetch: tuple[str, ...]
    standard: bool = True

    def lacks(self, folder: Path) -> list[str]:
        """Return the entries of `needs` that are missing in a folder."""
        return [name for name in self.needs if not (folder / name).exists()]


@dataclass(frozen=True)
class Found:
    """Layout, and the folder where it was found."""

    layout: Layout
    folder: Path


class OnDisk(Known):
    """Named dataset whose images the user downloads.

    Attributes:
        layouts: supported layouts, in order of preference.
        names: name of the class list in `names/`; None for the name of the dataset.
        torchvision: class in `torchvision.datasets` that downloads the dataset, or None.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    names: ClassVar[str | None] = None
    torchvision: ClassVar[str | None] = None

    @property
    def classes(self) -> ClassList:
        """Classes, in label order."""
        return read_classes(self.names or self.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names as words, available without the images."""
        return self.classes.words

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Published sizes by split, for the split that papers use."""
        return self.layouts[0].sizes

    def where(self, root: Path | None = None) -> str | None:
        """Return the dataset's folder, or None if it is not in the data folder."""
        found = self.find(root)
        return None if found is None else str(found.folder)

    def find(self, root: Path | None = None) -> Found | None:
        """Return the first layout that exists, with its folder, or None."""
        for layout in self.layouts:
            for folder in layout.folders:
                if not layout.lacks(data_root(root) / folder):
                    return Found(layout, data_root(root) / folder)
        return None

    def tried(self, root: Path | None = None) -> str:
        """Describe in one line the folders that were tried, and what is missing in those that exist."""
        lacks: dict[str, list[str]] = {}
        for layout in self.layouts:
            for name in layout.folders:
                lacks.setdefault(name, []).append(", ".join(layout.lacks(data_root(root) / name)))
        parts = []
        for name, ways in lacks.items():
            folder = data_root(root) / name
            parts.append(f"{folder} lacks {'; or '.join(ways)}" if folder.is_dir() else f"{folder} does not exist")
        return "; ".join([*parts, *self._elsewhere(root)])

    def _elsewhere(self, root: Path | None) -> list[str]:
        """Describe folders that hold class folders of the dataset under a name that no layout has."""
        tops = {data_root(root) / name for layout in self.layouts for name in layout.folders}
        inner = {top / name for top in tops for name in _folder_names(top)}
        keys = self.classes.labels.keys()
        found = [place for place in sorted(tops | inner) if 2 * len(keys & _folder_names(place)) > len(keys)]
        wanted = dict.fromkeys(name for layout in self.layouts for name in layout.needs if "." not in name)
        hint = f", which must be called {' or '.join(wanted)}" if wanted else ""
        return [f"{place} has folders of its classes{hint}" for place in found]

    def __call__(self, root: Path | None = None) -> Dataset:
        """Load the dataset without opening images.

        Raises:
            VLPromptError: no layout is found; an annotation file cannot be read; or images that it lists are missing.
        """
        found = self.find(root)
        if found is None:
            raise VLPromptError(
                f"the images of {self.name} were not found: {self.tried(root)}; vlprompt data check {self.name} shows "
                "where to download them; set another data folder with `root` or VLPROMPT_DATA"
            )
        listing = found.layout.read(found.folder, self.classes)
        lost = listing.missing()
        if lost:
            raise VLPromptError(
                f"{len(lost)} images of {self.name} are not in {listing.root}; the first is {lost[0]}; "
                f"vlprompt data check {self.name} shows where to download them"
            )
        untested = "test" in found.layout.sizes and not listing.test
        for problem in listing.problems:
            logger.warning("%s", problem if untested else f"{self.name}: {problem}")
        if not any(listing.splits().values()):
            raise VLPromptError(f"{self.name} has no images in its class folders; download them again")
        if untested:
            raise VLPromptError(
                f"{self.name} has no test images; vlprompt data check {self.name} shows where they belong"
            )
        for note in listing.notes:
            logger.warning(note)
        if found.layout.standard:
            logger.info("%s: %s, in %s", self.name, found.layout.title, found.folder)
        else:
            logger.warning("%s: %s, in %s; papers use another split", self.name, found.layout.title, found.folder)
        return self.dataset(listing)

    def dataset(self, listing: Listing) -> Dataset:
        """Build a dataset from a listing. Its class names replace the built-in ones, since its labels refer to them."""
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
