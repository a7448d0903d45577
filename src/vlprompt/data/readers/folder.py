"""Read a folder with one subfolder of images per class."""

import logging
from collections.abc import Iterator
from pathlib import Path

from vlprompt.data.class_names import NameMap, in_order
from vlprompt.data.dataset import Dataset
from vlprompt.data.images import SUFFIXES
from vlprompt.data.readers.assemble import ALIASES, SPLITS, Entry, assemble
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed

logger = logging.getLogger(__name__)


def read_folder(root: Path, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset in a folder.

    `root/CLASS/...` is split by seed: 50% train, 20% val, 30% test of each class (see `sampling.split_sizes`).
    `root/train/CLASS/...`, `root/val/...` (or `valid`, `validation`) and `root/test/...` are used unchanged. `val` is
    optional, and so is `train` in a folder that is only for testing.
    Classes are in alphabetical order, or by value if all of them are numbers. Subfolders of a class belong to it,
    symbolic links are followed, and hidden files and files without an image suffix are ignored. Unreadable files are
    listed in `Dataset.skipped`.

    Args:
        root: the folder.
        split_seed: seed of the split, for a folder without splits.
        name_map: see `words_for`.

    Raises:
        VLPromptError: there are no class folders, or no images in them; see also `assemble`.
    """
    if not root.is_dir():
        raise VLPromptError(f"`data` must be a folder, got {root}")
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
        hint = "its images are not in subfolders; " if loose else ""
        raise VLPromptError(f"{root} has no class folders; {hint}put the images of each class into a separate folder")
    if loose:
        logger.warning("ignoring images of %s outside of its class folders: %s", root, listed(loose, quote=False))
    if not entries:
        raise VLPromptError(f"{root} has {len(classes)} class folders but no images in them")
    return assemble(root, root, in_order(classes), entries, split_seed=split_seed, name_map=name_map)


def _split_folders(root: Path) -> dict[Path, str]:
    """Return split folders and their splits; a `train` folder that holds images directly is a class of vehicles."""
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
    """Yield the paths relative to `root` of all images below `folder`, sorted within each folder."""
    real = folder.resolve()
    if real in above:  # a symbolic link to a parent folder
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from image_paths(path, root, above | {real})
        elif path.suffix.lower() in SUFFIXES:
            yield path.relative_to(root).as_posix()
