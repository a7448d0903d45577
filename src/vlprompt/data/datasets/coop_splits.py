"""CoOp's splits: its `split_zhou_*.json` files, which most later papers use, and its splitting rules.

{"train": [[path, label, class name], ...], "val": [...], "test": [...]}

Without such a file, a dataset is split by the same rules but into different images, which depend on a seed.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vlprompt.data.dataset import Item, with_slashes
from vlprompt.data.datasets.annotation_files import broken, class_folders, read_json, strange_folders
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing
from vlprompt.data.sampling import group_by_label, split_order
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed

# Seed of splits that are made without CoOp's file.
SEED = 1


def split_json(
    folder: str, images: str, file: str, drive: str, sizes: Mapping[str, Size], fetch: tuple[str, ...]
) -> Layout:
    """Return the layout that CoOp's DATASETS.md describes.

    Args:
        folder: dataset folder, relative to the data folder.
        images: folder in it that the paths of the split are relative to; "" for `folder` itself.
        file: name of the split file in `folder`.
        drive: Google Drive id of the split file, as linked in DATASETS.md.
        sizes: published sizes by split.
        fetch: further download instructions, one line each.
    """
    return Layout(
        title=f"CoOp's split ({file})",
        folders=(folder,),
        needs=(images, file) if images else (file,),
        read=lambda folder, classes: read_split_json(folder, images, folder / file, classes),
        sizes=sizes,
        fetch=(*fetch, f"{file} from https://drive.google.com/file/d/{drive} (linked in DATASETS.md of CoOp)"),
    )


def read_split_json(root: Path, images: str, file: Path, classes: ClassList) -> Listing:
    """Read the images of a split file in file order, and its class names that differ from the built-in ones."""
    content = read_json(file)
    listing = Listing(root)
    names: dict[int, str] = {}
    own = {_plain(key): word for key, word in zip(classes.keys, classes.words, strict=True)}
    others = {_plain(word) for word in classes.words}
    swapped: dict[str, str] = {}
    for split, items in listing.splits().items():
        if not isinstance(content, dict) or not isinstance(content.get(split), list):
            raise broken(file, f"it has no list {split!r}")
        for row in content[split]:
            match row:
                case [str(path), int(label), str(name)] if 0 <= label < len(classes.words) and name.strip(" _"):
                    pass
                case _:
                    wanted = f"[path, label of 0 to {len(classes.words) - 1}, class name]"
                    raise _not_ours(file, f"{row!r} in {split!r} is not {wanted}")
            if names.setdefault(label, name) != name:
                raise broken(file, f"class {label} is called {names[label]!r} and {name!r}")
            folder = _class_part(path)
            word = _plain(own.get(_plain(folder), name))
            if _plain(name) != word and _plain(name) in others:
                swapped[folder] = name
            items.append(Item(with_slashes(root, f"{images}/{path}" if images else path), label))
    if len(names) < len(classes.words):
        raise _not_ours(file, f"its {len(names)} classes are not the {len(classes.words)} of the dataset")
    if swapped:
        wrong = [f"{folder} is called {name!r}" for folder, name in swapped.items()]
        listing.problems.append(f"{file.name} labels images with the wrong class: {listed(wrong, quote=False)}")
    _use_words(listing, names, classes, file)
    return listing


def _not_ours(file: Path, reason: str) -> VLPromptError:
    """Return the error for a file that is not the dataset's: people give the file of their own data its name."""
    return VLPromptError(
        f"{file} cannot be used: {reason}; download it again, or pass the file itself as `data` if it is your own"
    )


def _class_part(path: str) -> str:
    """Return the part of a path that names the class: its folders, or else the file name without its number."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    return folder or file.rpartition("_")[0]


def _plain(name: str) -> str:
    """Return only the letters and digits of a name, since spellings of folders and names vary."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _use_words(listing: Listing, names: Mapping[int, str], classes: ClassList, file: Path) -> None:
    """Use class names of a file that differ from the built-in ones, and report them."""
    listing.use_words(names, classes)
    if listing.words:
        renamed = [
            f"class {label} is {word!r} instead of {classes.words[label]!r}" for label, word in listing.words.items()
        ]
        listing.problems.append(f"{file.name} has other class names: {listed(renamed, quote=False)}")


def split_off_val(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Split items into train and val, with round(n / 5) of each class in val, as in CoOp's `split_trainval`."""
    train: list[Item] = []
    val: list[Item] = []
    for group in group_by_label(items).values():
        chosen = set(split_order([item.path for item in group], SEED)[: round(len(group) * 0.2)])
        for item in group:
            (val if item.path in chosen else train).append(item)
    return train, val


def split_in_three(listing: Listing, items: Iterable[Item]) -> Listing:
    """Split each class into 50% train, 20% val and the rest test, rounded as in CoOp, and add it to a listing."""
    for group in group_by_label(items).values():
        order = split_order([item.path for item in group], SEED)
        first, second = round(len(order) * 0.5), round(len(order) * 0.5) + round(len(order) * 0.2)
        place = {path: 0 if index < first else 1 if index < second else 2 for index, path in enumerate(order)}
        for item in group:
            (listing.train, listing.val, listing.test)[place[item.path]].append(item)
    return listing


def read_in_three(images: str, ignored: frozenset[str] = frozenset()) -> Callable[[Path, ClassList], Listing]:
    """Return a reader that splits the class folders in `images` in three; `ignored` folders are allowed."""

    def read(root: Path, classes: ClassList) -> Listing:
        items, problems = class_folders(root, images, classes)
        problems += strange_folders(root / images, classes, ignored)
        return split_in_three(Listing(root, problems=problems, listed=False), items)

    return read
