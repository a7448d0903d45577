"""What is known of a dataset without its images: classes, template, license, published sizes."""

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
    """Published number of images of a split, and (least, most) of each of its classes if that is published."""

    images: int
    each: tuple[int, int] | None = None


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset in the order of their labels.

    Attributes:
        keys: names in folders and annotation files, such as `n01440764` or `airplanes`.
        words: names in prompts, such as `tench` or `airplane`.
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
        name: for `load_dataset` and the command line.
        template: default prompt, with one `{}` for the class name.
        license: of the images, or what its authors state instead.
        url: home page.
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
        """Words for its classes; no images are needed."""

    @property
    def about(self) -> str:
        """One line for lists."""
        return (self.__doc__ or "").strip().split("\n")[0]

    @abstractmethod
    def where(self, root: Path | None = None) -> str | None:
        """Return where its images come from on this machine, or None if they are missing."""

    @abstractmethod
    def __call__(self, root: Path | None = None) -> Dataset:
        """Load it from the data folder `root`; None is the default one."""


@cache
def read_classes(name: str) -> ClassList:
    """Read the classes in `names/<name>.txt`, one a line: key, tab and words, or only words that are also the key."""
    text = (resources.files("vlprompt.data.datasets") / "names" / f"{name}.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return ClassList(tuple(row[0] for row in rows), tuple(row[-1] for row in rows))
