"""What is known of a dataset before its images are there: classes, template, license, published sizes."""

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
    """Published number of images of a split, and of each of its classes (least, most) where that is published."""

    images: int
    each: tuple[int, int] | None = None


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset in the order of their labels.

    Attributes:
        keys: what folders and annotation files call them, such as `n01440764` or `airplanes`.
        words: what prompts call them, such as `tench` or `airplane`.
    """

    keys: tuple[str, ...]
    words: tuple[str, ...]

    @cached_property
    def labels(self) -> Mapping[str, int]:
        """The label of each key."""
        return {key: label for label, key in enumerate(self.keys)}


class Known(ABC):
    """A dataset with a name. A subclass declares it; calling an instance loads it.

    Attributes:
        name: what `load_dataset` and the command line call it.
        template: the prompt it is tested with, with one `{}`.
        license: of the images, or what is said in its place.
        url: its home page.
        shifted: names of datasets of the same classes in other domains.
    """

    name: ClassVar[str]
    template: ClassVar[str] = "a photo of a {}."
    license: ClassVar[str]
    url: ClassVar[str]
    shifted: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, Size]:
        """Published sizes by split, of the layout that is looked for first."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The words for its classes, which need no images."""

    @property
    def about(self) -> str:
        """One line for lists."""
        return (self.__doc__ or "").strip().split("\n")[0]

    @abstractmethod
    def where(self, root: Path | None = None) -> str | None:
        """Where its images come from here; None if they are not there."""

    @abstractmethod
    def __call__(self, root: Path | None = None) -> Dataset:
        """Load it from the data folder `root`; None: from the usual one."""


@cache
def read_classes(name: str) -> Classes:
    """The classes in `names/<name>.txt`: one a line, its key and a tab before its words where the two differ."""
    text = (resources.files("vlprompt.data.datasets") / "names" / f"{name}.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return Classes(tuple(row[0] for row in rows), tuple(row[-1] for row in rows))
