"""Find the class folders in a tree of folders, and the split folders above or below them."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from vlprompt.data.folder_tree import Folder, describe
from vlprompt.data.split_names import SPLITS, split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import counted, listed

logger = logging.getLogger("vlprompt")

TABLES = (".csv", ".parquet", ".jsonl")


@dataclass(frozen=True)
class ClassFolder:
    """Folder with images of one class: its split, None without splits, and the name of the class."""

    split: str | None
    label: str
    folder: Folder


def find_classes(root: Path, tree: Folder) -> list[ClassFolder]:
    """Return the class folders of a tree, by split and then by name.

    Folders beside each other that are named like splits (see `split_names`) are splits, above class folders or inside
    every one of them. A folder that holds only one folder of folders, as unzipping makes it, is skipped. Other folders
    of images are left out and logged.

    Raises:
        VLPromptError: images lie directly in the root or in a split folder for training, or it cannot be told whether
            a folder is a split or a class.
    """
    top = _unwrapped(root, tree)
    tables = _tables(root, tree, top)
    splits = _split_folders(root, top)
    found = _in_splits(root, top, splits, tables) if splits else _without_splits(root, top, tables)
    if len({one.label for one in found}) == 1 and (tables := _tables(root, found[0].folder) or tables):
        raise VLPromptError(
            f"{_place(root, found[0].folder)} is the only folder of images; {_as_table(tables)}, or put the images of "
            "each class into a separate folder"
        )
    _note_nested(root, found)
    return found


def _without_splits(root: Path, top: Folder, tables: Sequence[str]) -> list[ClassFolder]:
    classes = [folder for folder in _sorted(top) if _holds_images(folder)]
    if not classes or not top.count():
        raise _no_classes(root, top, tables)
    _note_loose(root, top)
    names = {folder.name for folder in classes}
    if len(classes) == 1 and not tables and (empty := sorted(top.folders.keys() - names)):
        raise VLPromptError(
            f"{_place(root, top)} has images in {classes[0].name!r} alone, and class {empty[0]!r} has no readable "
            "training image; a classifier needs at least two classes"
        )
    _note_empty(root, top, names)
    return _splits_in_classes(root, classes) or [ClassFolder(None, folder.name, folder) for folder in classes]


def _unwrapped(root: Path, folder: Folder) -> Folder:
    """Return the folder, or the one in it that holds everything if that one has folders itself."""
    while len(inner := folder.with_images()) == 1:
        (only,) = inner
        if only.images or not only.with_images() or split_names([only.name]):
            break
        folder = only
        logger.info("%s: reading the folders in %s", root, folder.path)
    return folder


def _split_folders(root: Path, folder: Folder) -> dict[str, str]:
    """Return the split of each split folder in a folder, by name; empty if its folders are classes."""
    inner = folder.with_images()
    splits = split_names(one.name for one in inner)
    others = [one.name for one in inner if one.name not in splits]
    if not splits or not others:
        return splits
    flat = not any(folder.folders[name].with_images() for name in splits)
    if len(set(splits.values())) > 1 and not (flat and all(one.images for one in inner)):
        return splits
    if flat and "test" not in splits.values():  # a class of trains beside cars, valid documents beside invalid ones
        return {}
    raise VLPromptError(
        f"{_place(root, folder)} has {listed(splits)}, the name of a split, beside {listed(others)}: if it is a class, "
        "rename it (`name_map` restores its name); if it is a split, move the class folders into train/; leave folders "
        "that are neither out with `exclude`"
    )


def _in_splits(root: Path, top: Folder, splits: dict[str, str], tables: Sequence[str]) -> list[ClassFolder]:
    names = sorted(splits, key=lambda name: (SPLITS.index(splits[name]), name))
    folders = dict(zip(names, _unwrapped_splits([top.folders[name] for name in names]), strict=True))
    learned = {one.name for name in names if splits[name] == "train" for one in folders[name].with_images()}
    labeled = {name: folder for name, folder in folders.items() if _is_labeled(folder, splits[name], learned)}
    for name in names:
        if name not in labeled and (splits[name] == "train" or not labeled):
            raise _flat(root, folders[name], _tables(root, folders[name]) or tables)
    for name in sorted(folders.keys() - labeled.keys()):
        logger.warning(
            "%s has no labels: its %s are not in folders of the classes; they are left out",
            _place(root, folders[name]),
            counted(folders[name].count(), "image"),
        )
    found = []
    for name, folder in labeled.items():
        _note_loose(root, folder)
        classes = [one for one in _sorted(folder) if _holds_images(one)]
        _note_empty(root, folder, {one.name for one in classes})
        found += [ClassFolder(splits[name], one.name, one) for one in classes]
    _note_others(root, top, splits)
    _note_loose(root, top)
    _note_empty(root, top, {one.name for one in top.with_images()})
    used = {splits[name] for name in labeled}
    if len(used) == 1 and used != {"test"}:
        alone = listed([f"{name}/" for name in labeled], quote=False)
        logger.warning("%s has labeled images in %s alone; a part of them is held out for testing", root, alone)
        return [replace(one, split=None) for one in _same_spelling(found)]
    if any(name != splits[name] for name in labeled):
        logger.info("%s: %s", root, ", ".join(f"{name}/ is {splits[name]}" for name in sorted(labeled)))
    return _same_spelling(found)


def _unwrapped_splits(folders: Sequence[Folder]) -> list[Folder]:
    """Return split folders, or the only folder in each, as in `seg_train/seg_train/CLASS` and `train/images/CLASS`."""
    found = list(folders)
    changed = True
    while changed:
        changed = False
        inner = [folder.with_images() for folder in found]
        counts = Counter(one.name for folder in inner for one in folder)
        for place, (folder, one) in enumerate(zip(found, inner, strict=True)):
            if folder.images or len(one) != 1:
                continue
            (only,) = one
            alone = counts[only.name] == 1 or len(counts) == 1
            of_folders = not only.images and only.with_images()
            if alone and (of_folders or _same_split(only.name, folder.name)):
                found[place] = only
                changed = True
    return found


def _same_split(one: str, other: str) -> bool:
    split = split_names([one]).get(one)
    return one.casefold() == other.casefold() or (split is not None and split == split_names([other]).get(other))


def _is_labeled(folder: Folder, split: str, learned: set[str]) -> bool:
    """Return whether a split folder has class folders; a single one must be a class of the training images."""
    classes = {one.name for one in folder.with_images()}
    return bool(classes) and (split == "train" or len(classes) > 1 or not learned or _keys(classes) <= _keys(learned))


def _splits_in_classes(root: Path, classes: Sequence[Folder]) -> list[ClassFolder]:
    """Return the split folders inside of class folders; empty if class folders are not divided into splits."""
    by_class = {}
    for folder in classes:
        inner = [one.name for one in folder.with_images()]
        splits = split_names(inner)
        by_class[folder.name] = splits if len(splits) == len(inner) or len(set(splits.values())) > 1 else {}
    if len({split for splits in by_class.values() for split in splits.values()}) < 2:
        return []
    plain = [name for name, splits in by_class.items() if not splits]
    if plain:
        divided = next(name for name, splits in by_class.items() if splits)
        raise VLPromptError(
            f"{root} has {listed(by_class[divided], quote=False)} in class {divided!r}, but not in {listed(plain)}; "
            "put split folders into all classes or into none, or leave folders out with `exclude`"
        )
    found = []
    for folder in classes:
        splits = by_class[folder.name]
        _note_loose(root, folder)
        _note_others(root, folder, splits)
        found += [ClassFolder(split, folder.name, folder.folders[name]) for name, split in sorted(splits.items())]
    return found


def _same_spelling(found: list[ClassFolder]) -> list[ClassFolder]:
    """Give a class the spelling of its training folder, where case or Unicode form differ between splits."""
    learned = {one.label for one in found if one.split == "train"}
    spelling = {_key(label): label for label in learned}
    if len(spelling) < len(learned):
        return found
    return [
        one if one.label in learned else replace(one, label=spelling.get(_key(one.label), one.label)) for one in found
    ]


def _key(name: str) -> str:
    return normalize("NFC", name).casefold()


def _keys(names: Iterable[str]) -> set[str]:
    return set(map(_key, names))


def _sorted(folder: Folder) -> list[Folder]:
    return [one for _, one in sorted(folder.folders.items())]


def _holds_images(folder: Folder) -> bool:
    """Return whether a folder has images, or would have if its files were read."""
    return folder.count() > 0 or any(one.images for one in folder.left_out())


def _note_loose(root: Path, folder: Folder) -> None:
    if folder.images:
        logger.warning(
            "ignoring images of %s outside of its class folders: %s",
            _place(root, folder),
            listed(sorted(folder.images), quote=False),
        )


def _note_nested(root: Path, found: Sequence[ClassFolder]) -> None:
    """Name the classes that hold folders in place of images: these folders may be the classes that are meant."""
    inner = {one.label: one.folder.with_images() for one in found if not one.folder.images}
    nested = [
        f"{label}/ ({listed([one.name for one in folders], 3, quote=False)})"
        for label, folders in inner.items()
        if len(folders) > 1
    ]
    if nested:
        logger.warning(
            "%s: folders in a class belong to it and are not classes of their own: %s",
            root,
            listed(nested, 3, quote=False),
        )


def _note_empty(root: Path, folder: Folder, classes: set[str]) -> None:
    empty = sorted(folder.folders.keys() - classes)
    if empty:
        logger.warning(
            "%s of %s without images: %s; left out",
            counted(len(empty), "folder"),
            _place(root, folder),
            listed(empty, quote=False),
        )


def _note_others(root: Path, folder: Folder, splits: dict[str, str]) -> None:
    others = [one for one in folder.with_images() if one.name not in splits]
    if others:
        logger.warning(
            "%s has images beside %s, which are left out: %s",
            _place(root, folder),
            listed([f"{name}/" for name in sorted(splits)], quote=False),
            listed([f"{one.name}/ ({one.count():,})" for one in others], quote=False),
        )


def _no_classes(root: Path, top: Folder, tables: Sequence[str]) -> VLPromptError:
    parts = [f"{root} has no class folders"]
    if top.folders:
        parts = [f"{root} has {len(top.folders)} class folders but no images in them"]
    if top.images:
        parts.append("its images are not in subfolders")
    if not top.folders or top.images:
        parts.append(_how_to_sort(top, tables))
    unread = describe(top.left_out())
    return VLPromptError("; ".join([*parts, unread] if unread else parts))


def _flat(root: Path, folder: Folder, tables: Sequence[str]) -> VLPromptError:
    """Return the error for images directly in a split folder."""
    return VLPromptError(
        f"{_place(root, folder)} holds {counted(folder.count(), 'image')} directly, without class folders, so "
        f"they have no labels; {_how_to_sort(folder, tables)}"
    )


def _how_to_sort(folder: Folder, tables: Sequence[str]) -> str:
    if tables:
        return _as_table(tables)
    words = _first_words(folder.images)
    if words:
        return f"their names begin with {listed(words, quote=False)}: put each into a folder of that name"
    return (
        "put the images of each class into a separate folder, or name their classes in a table (columns path and label)"
    )


def _first_words(names: Iterable[str]) -> list[str]:
    """Return the words that file names such as `cat.0.jpg` begin with; empty if they do not look like classes."""
    words = Counter("".join(c if c.isalpha() else " " for c in name).split(" ", 1)[0] for name in names)
    return sorted(words) if 1 < len(words) <= 20 and "" not in words and min(words.values()) > 1 else []


def _tables(root: Path, *folders: Folder) -> list[str]:
    """Return the paths in the root of tables in the folders, which may say what their images show."""
    paths = [path for folder in folders for suffix in TABLES for path in folder.samples.get(suffix, ())]
    tables = dict.fromkeys(path.relative_to(root).as_posix() for path in paths)
    return [table for table in tables if "submission" not in table.lower()]


def _as_table(tables: Sequence[str]) -> str:
    return f"if {listed(tables, quote=False)} names their classes, give it as `data` (columns path and label)"


def _place(root: Path, folder: Folder) -> Path:
    return root / folder.path
