"""Metadata of named datasets: classes, template, license and published sizes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import ClassVar

from vlprompt.data.dataset import Dataset


@dataclass(frozen=True)
class Size:
    """Published number of images in a split, and (minimum, maximum) per class if known."""

    images: int
    each: tuple[int, int] | None = None


@dataclass(frozen=True)
class ClassList:
    """Classes of a dataset, in label order.

    Attributes:
        keys: names in folders and annotation files, such as `n01440764` or `airplanes`.
        words: names in prompts, such as `tench` or `airplane`.
    """

    keys: tuple[str, ...]
    words: tuple[str, ...]

    @cached_property
    def labels(self) -> Mapping[str, int]:
        """Label of each key."""
        return {key: label for label, key in enumerate(self.keys)}


class Known(ABC):
    """Named dataset. A subclass declares it, and calling an instance loads it.

    Attributes:
        name: for `load_dataset` and the command line.
        template: default prompt, with one `{}` for the class name.
        license: license of the images, or the authors' terms.
        url: home page.
        shifted: names of datasets with the same classes in other domains.
    """

    name: ClassVar[str]
    template: ClassVar[str] = "a photo of a {}."
    license: ClassVar[str]
    url: ClassVar[str]
    shifted: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, Size]:
        """Published sizes by split, for the preferred layout."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Class names as words, available without the images."""

    @property
    def about(self) -> str:
        """One-line description, from the docstring of the class."""
        return (self.__doc__ or "").strip().split("\n")[0]

    @abstractmethod
    def where(self, root: Path | None = None) -> str | None:
        """Return where the images are on this machine, or None if they are missing."""

    @abstractmethod
    def __call__(self, root: Path | None = None) -> Dataset:
        """Load the dataset from the data folder `root`; None for the default one."""


@cache
def read_classes(name: str) -> ClassList:
    """Read the classes in `names/<name>.txt`, one per line: key, tab and words, or only words that are also the key."""
    text = (resources.files("vlprompt.data.datasets") / "names" / f"{name}.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return ClassList(tuple(row[0] for row in rows), tuple(row[-1] for row in rows))
