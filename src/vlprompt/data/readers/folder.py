"""Read a folder with one subfolder of images per class."""

import logging
from collections.abc import Sequence
from pathlib import Path

from vlprompt.data.class_names import NameMap, in_order
from vlprompt.data.dataset import Dataset
from vlprompt.data.folder_tree import describe, walk
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.readers.class_folders import find_classes
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")


def read_folder(
    root: Path, *, split_seed: int = 1, name_map: NameMap | None = None, exclude: Sequence[str] = ()
) -> Dataset:
    """Read the dataset in a folder.

    `root/CLASS/...` is split by seed: 50% train, 20% val, 30% test of each class (see `sampling.split_sizes`).
    `root/train/CLASS/...`, `root/val/...` and `root/test/...` are used unchanged, as are `root/CLASS/train/...` and so
    on. Other names of splits are understood (see `split_names`). `val` is optional, and so is `train` in a folder that
    is only for testing; without `test`, the images of `val` are for testing.
    Classes are in alphabetical order, or by value if all of them are numbers. Subfolders of a class belong to it,
    symbolic links are followed, and hidden files are ignored. Files that are not read are listed in
    `Dataset.left_out`, unreadable ones in `Dataset.skipped`.

    Args:
        root: the folder.
        split_seed: seed of the split, for a folder without splits.
        name_map: see `words_for`.
        exclude: shell patterns of files and folders to leave out, see `walk`.

    Raises:
        VLPromptError: there are no class folders, or no images in them; see also `find_classes` and `assemble`.
    """
    if not root.is_dir():
        raise VLPromptError(f"`data` must be a folder, got {root}")
    tree = walk(root, exclude)
    left_out = tree.left_out()
    if left_out:
        level = logging.WARNING if any(one.images for one in left_out) else logging.INFO
        logger.log(level, "%s: %s", root, describe(left_out))
    found = find_classes(root, tree)
    for one in found:
        if one.split in (None, "train") and not one.folder.count():
            raise VLPromptError(
                f"class {one.label!r} of {root} has no image that is read; {describe(one.folder.left_out())}"
            )
    entries = [Entry(path, one.label, one.split) for one in found for path in one.folder.paths()]
    classes = in_order({one.label for one in found})
    return assemble(root, root, classes, entries, split_seed=split_seed, name_map=name_map, left_out=left_out)
