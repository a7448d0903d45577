"""Annotation files and class folders, and what is said when they are not as they should be."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.known import Classes
from vlprompt.data.images import SUFFIXES
from vlprompt.errors import VLPromptError


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not blank, stripped."""
    return [line.strip() for line in _read_text(path).splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise broken(path, f"it is not JSON: {error}") from error


def read_mat(path: Path, *names: str) -> list[NDArray[Any]]:
    """These variables of a MATLAB file, with dimensions of length 1 taken out, but for one."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, squeeze_me=True)
    except OSError as error:
        raise broken(path, error.strerror or "it cannot be opened") from error
    except Exception as error:  # whatever a damaged file leads the parser to
        raise broken(path, f"it is no MATLAB file ({' '.join(str(error).split())})") from error
    absent = [name for name in names if name not in content]
    if absent:
        raise broken(path, f"it has no variable {absent[0]!r}")
    return [np.atleast_1d(content[name]) for name in names]


def broken(path: Path, reason: str) -> VLPromptError:
    """The error for an annotation file that cannot be used."""
    return VLPromptError(f"{path} cannot be used: {reason}; fetch it again")


def check_keys(path: Path, keys: list[str], classes: Classes) -> None:
    """VLPromptError where an official file numbers the classes in another way."""
    if len(keys) != len(classes.keys):
        raise broken(path, f"it has {len(keys)} classes, not {len(classes.keys)}")
    for label, (key, ours) in enumerate(zip(keys, classes.keys, strict=True)):
        if key != ours:
            raise broken(path, f"class {label + 1} is {key!r}, not {ours!r}")


def label_of(path: Path, key: str, classes: Classes) -> int:
    """The label of a class in a line of a file. VLPromptError where there is no such class."""
    if key not in classes.labels:
        raise broken(path, f"it has a class {key!r} that the dataset has not")
    return classes.labels[key]


def class_folders(root: Path, folder: str, classes: Classes) -> tuple[list[Item], list[str]]:
    """The images in `root/folder/KEY/` of all classes, sorted within each class, and problems with the folders.

    Paths are relative to `root`. Keys may have slashes. Nothing is opened, so a million images take seconds.
    """
    items: list[Item] = []
    absent, empty = [], []
    for label, key in enumerate(classes.keys):
        inner = f"{folder}/{key}" if folder else key
        try:
            names = sorted(_image_names(root / inner))
        except OSError:
            absent.append(key)
            continue
        if not names:
            empty.append(key)
        items += [Item(f"{inner}/{name}", label) for name in names]
    place = root / folder if folder else root
    problems = []
    if absent:
        problems.append(f"{place} has no folder {shown(absent)}")
    if empty:
        problems.append(f"{place} has no images in {shown(empty)}")
    return items, problems


def strange_folders(place: Path, classes: Classes, ignored: frozenset[str] = frozenset()) -> list[str]:
    """A problem where a folder has others than those of the classes."""
    known = classes.labels.keys() | ignored
    with os.scandir(place) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    strange = [name for name in names if name not in known]
    return [f"{place} has folders that are no class of it: {shown(strange)}"] if strange else []


def with_slashes(root: Path, path: str) -> str:
    """A path below `root` with slashes for the backslashes of Windows, unless a file here is called with them."""
    return path.replace("\\", "/") if "\\" in path and not (root / path).exists() else path


def shown(names: list[str]) -> str:
    """The first few of many names."""
    few = ", ".join(names[:5])
    return few if len(names) <= 5 else f"{few} and {len(names) - 5} more"


def _image_names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if f".{name.rpartition('.')[2].lower()}" in SUFFIXES and not name.startswith("."):
                yield name


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise broken(path, reason or "it cannot be read") from error
