"""Read annotation files and class folders, with errors that name the file and the problem."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.known import ClassList
from vlprompt.data.folder_tree import is_ignored
from vlprompt.data.images import SUFFIXES
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed, one_line, read_problem
from vlprompt.utils.text_files import read_text


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank, stripped."""
    return [line.strip() for line in _read_text(path).splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise broken(path, f"it is not JSON: {error}") from error


def read_mat(path: Path, *names: str) -> list[NDArray[Any]]:
    """Return variables of a MATLAB file as squeezed arrays with at least one dimension."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, squeeze_me=True)
    except OSError as error:
        raise broken(path, error.strerror or "it cannot be opened") from error
    except Exception as error:  # a damaged file can make the parser raise anything
        raise broken(path, f"it is not a MATLAB file ({one_line(error)})") from error
    absent = [name for name in names if name not in content]
    if absent:
        raise broken(path, f"it has no variable {absent[0]!r}")
    return [np.atleast_1d(content[name]) for name in names]


def broken(path: Path, reason: str) -> VLPromptError:
    """Return the error for an annotation file that cannot be used."""
    return VLPromptError(f"{path} cannot be used: {reason}; download it again")


def check_keys(path: Path, keys: list[str], classes: ClassList) -> None:
    """Raise VLPromptError if an official file lists other classes, or the same in another order."""
    if len(keys) != len(classes.keys):
        raise broken(path, f"it must have {len(classes.keys)} classes, got {len(keys)}")
    for label, (key, ours) in enumerate(zip(keys, classes.keys, strict=True)):
        if key != ours:
            raise broken(path, f"class {label + 1} must be {ours!r}, got {key!r}")


def label_of(path: Path, key: str, classes: ClassList) -> int:
    """Return the label of class `key`; raise VLPromptError, naming the file, if the dataset has no such class."""
    if key not in classes.labels:
        raise broken(path, f"class {key!r} does not belong to the dataset")
    return classes.labels[key]


def class_folders(root: Path, folder: str, classes: ClassList, how: str = "") -> tuple[list[Item], list[str]]:
    """Return the images in `root/folder/KEY/` of all classes, sorted within each class, and problems with the folders.

    Paths are relative to `root`. Keys may have slashes. Images are not opened, so that listing a million takes seconds.

    Args:
        root: folder of the dataset.
        folder: folder in it; "" for `root` itself.
        classes: the classes.
        how: hint for images that are directly in `folder`.
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
    if len(absent) == len(classes.keys) and place.is_dir() and (count := sum(1 for _ in _image_names(place))):
        how = how or f"put each into the folder of its class, such as {classes.keys[0]}/"
        return [], [f"{place} holds {count:,} images directly, without class folders; {how}"]
    problems = []
    if absent:
        problems.append(f"{place} has no folder {listed(absent, quote=False)}")
    if empty:
        problems.append(f"{place} has no images in {listed(empty, quote=False)}")
    return items, problems


def strange_folders(place: Path, classes: ClassList, ignored: frozenset[str] = frozenset()) -> list[str]:
    """Return a list with one problem if `place` has folders that are not classes, else an empty one."""
    known = classes.labels.keys() | ignored
    with os.scandir(place) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not is_ignored(entry.name))
    strange = [name for name in names if name not in known]
    return (
        [f"{place} has folders that are not classes of the dataset: {listed(strange, quote=False)}"] if strange else []
    )


def _image_names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if f".{name.rpartition('.')[2].lower()}" in SUFFIXES and not name.startswith("."):
                yield name


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise broken(path, read_problem(error)) from error
