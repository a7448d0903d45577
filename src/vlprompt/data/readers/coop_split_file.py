"""Read a user's own split file in CoOp's format.

{"train": [[path, label, class name], ...], "val": [...], "test": [...]}
"""

import json
from pathlib import Path
from typing import Any

from vlprompt.data.class_names import NameMap
from vlprompt.data.dataset import Dataset, with_slashes
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.split_names import split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed, one_line, read_problem
from vlprompt.utils.text_files import read_text

SUFFIX = ".json"


def read_coop_split(path: Path, root: Path | None = None, *, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset in a split file in CoOp's format, with its own classes in the order of their labels.

    Unreadable files are listed in `Dataset.skipped`.

    Args:
        path: the file.
        root: folder that paths are relative to; by default the file's folder, or the first folder in it that holds the
            first image, as CoOp's files stand beside the folder of images.
        name_map: see `words_for`.

    Raises:
        VLPromptError: the file is not in this format, or a class has two names or a name two labels; see also
            `assemble`.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise VLPromptError(f"split file {path} cannot be read: {read_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        raise VLPromptError(f"split file {path} is not JSON: {one_line(error)}") from error
    names: dict[int, str] = {}
    entries: list[Entry] = []
    for split, rows in _splits(path, content).items():
        for row in rows:
            match row:
                case [str(image), int(label), str(name)] if image and label >= 0 and name.strip():
                    pass
                case _:
                    raise VLPromptError(f"split file {path}: {row!r} in {split!r} is not [path, label, class name]")
            if names.setdefault(label, name.strip()) != name.strip():
                raise VLPromptError(f"split file {path}: class {label} is called {names[label]!r} and {name!r}")
            entries.append(Entry(image, name.strip(), split))
    if not entries:
        raise VLPromptError(f"split file {path} has no images")
    classes = [names[label] for label in sorted(names)]
    if twice := [name for name in classes if classes.count(name) > 1]:
        raise VLPromptError(f"split file {path}: class {twice[0]!r} has two labels; give each class one")
    folder = _folder(path.parent, entries[0].path) if root is None else root
    return assemble(path, folder, classes, entries, split_seed=1, name_map=name_map)


def _splits(path: Path, content: Any) -> dict[str, list[Any]]:
    splits = split_names(content) if isinstance(content, dict) else {}
    if not set(splits.values()) & {"train", "test"}:
        form = '{"train": [[path, label, class name], ...], "val": [...], "test": [...]}'
        raise VLPromptError(f"split file {path} must hold {form}, as CoOp's do")
    wrong = [name for name, rows in content.items() if name not in splits or not isinstance(rows, list)]
    if wrong or len(set(splits.values())) < len(splits):
        raise VLPromptError(
            f"split file {path} must hold lists called train, val and test, got {listed(wrong or content)}"
        )
    return {splits[name]: rows for name, rows in content.items()}


def _folder(beside: Path, image: str) -> Path:
    """Return the folder that an image's path is relative to."""
    inner = [entry for entry in sorted(beside.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    return next((folder for folder in (beside, *inner) if (folder / with_slashes(folder, image)).is_file()), beside)
