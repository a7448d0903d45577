"""A folder per class."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets.annotation_files import shown
from vlprompt.data.images import SUFFIXES
from vlprompt.data.readers.assemble import ALIASES, SPLITS, Entry, assemble
from vlprompt.errors import VLPromptError

logger = logging.getLogger(__name__)


def read_folder(root: Path, *, split_seed: int = 1, class_names: Mapping[str, str] | Path | None = None) -> Dataset:
    """The dataset in a folder that has a folder of images per class.

    `root/CLASS/...` is split by seed: 50% train, 20% val, 30% test of each class (see `sampling.split_sizes`).
    `root/train/CLASS/...`, `root/val/...` (or `valid`, `validation`) and `root/test/...` are taken as they are; val may
    be missing, and so may train, for a folder that is only tested on.
    Classes are in alphabetical order. Subfolders of a class belong to it, symbolic links are followed, hidden files and
    files without an image's suffix are not looked at. Files that cannot be read are in `Dataset.skipped`.
    """
    if not root.is_dir():
        raise VLPromptError(f"DATA {root} is not a folder")
    parts = _split_folders(root)
    if parts and "test" not in parts.values():
        raise VLPromptError(f"{root} has train/ but no test/; move some images of each class there, or rename val/")
    loose = [path.name for path in sorted(root.iterdir()) if _is_image(path)]
    classes: set[str] = set()
    entries: list[Entry] = []
    for folder, split in parts.items() or ((root, None),):
        for class_folder in _folders(folder):
            classes.add(class_folder.name)
            entries += [Entry(path, class_folder.name, split) for path in image_paths(class_folder, root)]
    if not classes:
        hint = "images lie in it directly; " if loose else ""
        raise VLPromptError(f"{root} has no class folders; {hint}put the images of each class into a folder of its own")
    if loose:
        logger.warning("images beside the class folders of %s belong to no class: %s", root, shown(loose))
    if not entries:
        raise VLPromptError(f"{root} has {len(classes)} class folders but no images in them")
    return assemble(root, root, sorted(classes), entries, split_seed=split_seed, class_names=class_names)


def _split_folders(root: Path) -> dict[Path, str]:
    """The folders that are splits; none if `train`, say, is a class of vehicles: its images lie in it directly."""
    parts = {}
    for folder in _folders(root):
        split = ALIASES.get(folder.name, folder.name)
        if split in SPLITS and _folders(folder) and not any(_is_image(path) for path in folder.iterdir()):
            parts[folder] = split
    named = set(parts.values())
    return parts if named & {"train", "test"} else {}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def image_paths(folder: Path, root: Path, above: frozenset[Path] = frozenset()) -> Iterator[str]:
    """Paths relative to `root` of all images below `folder`, sorted within each folder."""
    real = folder.resolve()
    if real in above:  # a symbolic link that leads back up
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from image_paths(path, root, above | {real})
        elif path.suffix.lower() in SUFFIXES:
            yield path.relative_to(root).as_posix()
