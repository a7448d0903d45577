"""The field's own splits: `split_zhou_*.json` of CoOp, which most of its successors have on disk, too.

{"train": [[path, label, class name], ...], "val": [...], "test": [...]}
"""

from collections.abc import Mapping
from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, read_json, shown, with_slashes
from vlprompt.data.datasets.known import Classes, Size
from vlprompt.data.datasets.on_disk import Layout, Listing


def split_json(
    folder: str, images: str, file: str, drive: str, sizes: Mapping[str, Size], fetch: tuple[str, ...]
) -> Layout:
    """The layout of CoOp's instructions.

    Args:
        folder: below the data folder.
        images: the folder in it that the split's paths are relative to; "" for `folder` itself.
        file: the split, in `folder`.
        drive: of the file, the id that CoOp's DATASETS.md links to.
        sizes: published sizes.
        fetch: what else to get from where.
    """
    return Layout(
        title=f"the field's split ({file})",
        folders=(folder,),
        needs=(images, file) if images else (file,),
        read=lambda folder, classes: read_split_json(folder, images, folder / file, classes),
        sizes=sizes,
        fetch=(*fetch, f"{file} from https://drive.google.com/file/d/{drive} (linked in DATASETS.md of CoOp)"),
    )


def read_split_json(root: Path, images: str, file: Path, classes: Classes) -> Listing:
    """The images of a split, in its order; its class names where they are not ours."""
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
                case [str(path), int(label), str(name)] if 0 <= label < len(classes.words):
                    pass
                case _:
                    wanted = f"[path, label of 0 to {len(classes.words) - 1}, class name]"
                    raise broken(file, f"{row!r} in {split!r} is not {wanted}")
            if names.setdefault(label, name) != name:
                raise broken(file, f"class {label} is called {names[label]!r} and {name!r}")
            folder = _class_part(path)
            word = _plain(own.get(_plain(folder), name))
            if _plain(name) != word and _plain(name) in others:
                swapped[folder] = name
            items.append(Item(with_slashes(root, f"{images}/{path}" if images else path), label))
    unseen = [classes.words[label] for label in range(len(classes.words)) if label not in names]
    if unseen:
        listing.problems.append(f"{file.name} has no images of {shown(unseen)}")
    if swapped:
        wrong = [f"{folder} is called {name!r}" for folder, name in swapped.items()]
        listing.problems.append(f"{file.name} gives images the class of others: {shown(wrong)}")
    _compare_words(listing, names, classes, file)
    return listing


def _class_part(path: str) -> str:
    """What a path says of the class: its folders, or where it has none the file's name without its number."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    return folder or file.rpartition("_")[0]


def _plain(name: str) -> str:
    """Letters and digits alone, since folders and names are written in many ways."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _compare_words(listing: Listing, names: Mapping[int, str], classes: Classes, file: Path) -> None:
    """Take over the class names of a file where they are not ours, and say so."""
    words = {label: " ".join(name.replace("_", " ").split()) for label, name in names.items()}
    listing.words = {label: word for label, word in words.items() if word != classes.words[label]}
    if listing.words:
        renamed = [f"{label} is {word!r}, here {classes.words[label]!r}" for label, word in listing.words.items()]
        listing.problems.append(f"{file.name} has other class names: {shown(renamed)}")
