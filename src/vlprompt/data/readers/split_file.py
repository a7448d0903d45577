"""A split as a file: which images a run learns from and is tested on, so that others can use the very same.

JSON lines in UTF-8. The first one is the header, then there is a line for each image:

    {"vlprompt_split": 1, "dataset", "template", "shots", "seed", "classes": [...], "hash", "content"}
    {"path", "label", "class_name", "split", "sha256"}

Paths are relative. `hash` is `Dataset.split_hash()`. `content`, `Dataset.content_hash`, is made of what the images are
instead of where they lie, so that two people whose folders differ can compare it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from vlprompt.data.checks import unreadable
from vlprompt.data.class_names import words_for
from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.hashes import combined_hash, file_hashes
from vlprompt.data.readers.assemble import ALIASES, SPLITS, Entry, assemble
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write

SUFFIX = ".jsonl"
# Of a line that users write.
FIELDS = ("path", "label", "class_name", "split")
OBJECT = TypeAdapter(dict[str, Any])


class Header(BaseModel):
    """The first line. `shots` and `seed` are those of the draw, None where nothing was drawn."""

    vlprompt_split: Literal[1] = 1
    dataset: str
    template: str
    shots: int | None
    seed: int | None
    classes: list[str]
    hash: str
    content: str


class Row(BaseModel):
    """One image: its POSIX path relative to the root, its class, its split, and the SHA-256 of its file."""

    path: str
    label: int
    class_name: str
    split: Literal["train", "val", "test"]
    sha256: str


Line = TypeVar("Line", Header, Row)


def write_split(dataset: Dataset, path: Path) -> Header:
    """Write the images of all splits to a file, drawn shots as they are drawn. Every image is read for its hash."""
    items = [(split, item) for split, part in dataset.splits().items() for item in part]
    hashes = file_hashes(dataset.root, [item.path for _, item in items])
    rows = [
        Row(path=item.path, label=item.label, class_name=dataset.class_names[item.label], split=split, sha256=found)
        for (split, item), found in zip(items, hashes, strict=True)
    ]
    shots, seed = dataset.drawn or (None, None)
    header = Header(
        dataset=dataset.name,
        template=dataset.template,
        shots=shots,
        seed=seed,
        classes=list(dataset.class_names),
        hash=dataset.split_hash(),
        content=_content(dataset.class_names, rows),
    )
    atomic_write(path, "".join(f"{json.dumps(line.model_dump())}\n" for line in (header, *rows)))
    return header


def read_split(
    path: Path,
    root: Path | None = None,
    *,
    split_seed: int = 1,
    class_names: Mapping[str, str] | Path | None = None,
) -> Dataset:
    """The dataset in a split file; what `write_split` wrote comes back with the same `split_hash()`.

    A user's own file needs no header: lines with `path`, `class_name` or `label` or both, and, in all lines or none,
    `split`. Classes are in the order of their labels where those are whole numbers, else in alphabetical order; without
    `split` each class is split by seed as a folder's is, and files that cannot be read are in `Dataset.skipped`.

    Args:
        path: the file.
        root: the folder that paths are relative to; the file's own unless given.
        split_seed: of a user's own file without `split`.
        class_names: see `words_for`.

    Raises:
        VLPromptError: a line that cannot be read; a header that does not fit the lines below it, or whose images
            are not all there.
    """
    root = path.parent if root is None else root
    lines = _read_lines(path)
    if not _has_header(lines):
        return _own_dataset(path, root, lines, split_seed, class_names)
    header, rows = _parse(path, lines)
    lost = [row.path for row in rows if not (root / row.path).is_file()]
    if lost:
        raise VLPromptError(
            f"{len(lost)} of {len(rows)} images of {path} are not in {root}, the first is {lost[0]}; "
            "give their folder with --root"
        )
    bad = unreadable(root, [row.path for row in rows])
    if bad:
        first, reason = next(iter(bad.items()))
        raise VLPromptError(f"{len(bad)} images of {path} cannot be read; the first is {first}: {reason}")
    dataset = replace(_dataset(header, rows), root=root, source=str(path))
    return replace(dataset, class_names=words_for(dataset.class_names, class_names)) if class_names else dataset


def verify_split(path: Path, root: Path | None = None) -> dict[str, str]:
    """What is wrong with the images of a file that `write_split` wrote, by their paths; nothing where all are the same.

    Raises:
        VLPromptError: the file has no header, or was changed after it was written.
    """
    root = path.parent if root is None else root
    lines = _read_lines(path)
    if not _has_header(lines):
        raise VLPromptError(f"{path} has no header, so it says nothing to verify; write one with `vlprompt data split`")
    _, rows = _parse(path, lines)
    there = [row.path for row in rows if (root / row.path).is_file()]
    found = dict(zip(there, file_hashes(root, there), strict=True))
    return {
        row.path: "is another image" if row.path in found else "is not there"
        for row in rows
        if found.get(row.path) != row.sha256
    }


def _content(class_names: Iterable[str], rows: Iterable[Row]) -> str:
    return combined_hash(class_names, ((row.split, row.label, row.sha256) for row in rows))


def _read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file with the numbers of their lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise VLPromptError(f"split file {path} cannot be read: {reason}") from error
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                lines.append((number, OBJECT.validate_json(line)))
            except ValidationError as error:
                wrong = error.errors()[0]
                reason = f"not JSON: {wrong['msg']}" if wrong["type"] == "json_invalid" else "no object; write {...}"
                raise VLPromptError(f"line {number} of split file {path} is {reason}") from error
    if not lines:
        raise VLPromptError(f"split file {path} is empty")
    return lines


def _has_header(lines: list[tuple[int, dict[str, Any]]]) -> bool:
    return "vlprompt_split" in lines[0][1]


def _parse(path: Path, lines: list[tuple[int, dict[str, Any]]]) -> tuple[Header, list[Row]]:
    """Header and rows, which fit one another."""
    header = _validated(Header, path, *lines[0])
    rows = [_validated(Row, path, number, content) for number, content in lines[1:]]
    names = dict(enumerate(header.classes))
    same = (
        all(names.get(row.label) == row.class_name for row in rows)
        and _dataset(header, rows).split_hash() == header.hash
        and _content(header.classes, rows) == header.content
    )
    if not same:
        raise VLPromptError(
            f"split file {path} was changed: its lines are not those that its header has the hash of; take the "
            "original, or take the header out to use it as a split of your own"
        )
    return header, rows


def _validated(model: type[Line], path: Path, number: int, content: dict[str, Any]) -> Line:
    try:
        return model(**content)
    except ValidationError as error:
        where, reason = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
        raise VLPromptError(f"line {number} of split file {path} cannot be read ({where}: {reason})") from error


def _dataset(header: Header, rows: list[Row]) -> Dataset:
    """What a file says, without the folder of the images."""

    def items(split: str) -> tuple[Item, ...]:
        return tuple(Item(row.path, row.label) for row in rows if row.split == split)

    return Dataset(
        name=header.dataset,
        root=Path(),
        class_names=tuple(header.classes),
        train=items("train"),
        val=items("val"),
        test=items("test"),
        template=header.template,
        drawn=None if header.shots is None or header.seed is None else (header.shots, header.seed),
    )


def _own_dataset(
    path: Path,
    root: Path,
    lines: list[tuple[int, dict[str, Any]]],
    split_seed: int,
    class_names: Mapping[str, str] | Path | None,
) -> Dataset:
    with_split = "split" in lines[0][1]
    entries: list[Entry] = []
    labels: dict[str, Any] = {}
    for number, line in lines:
        where = f"line {number} of split file {path}"
        label, name = line.get("label"), line.get("class_name")
        label = label.strip() if isinstance(label, str) else label
        name = label if name is None else name
        if not line.get("path") or name is None or not str(name).strip():
            raise VLPromptError(f"{where} needs `path`, and `class_name` or `label`")
        if not isinstance(line["path"], str) or any(isinstance(line.get(key), list | dict) for key in FIELDS):
            raise VLPromptError(f"{where}: write `path` as text, and the others as text or numbers")
        if ("split" in line) != with_split:
            raise VLPromptError(f"{where}: either all lines have `split`, or none has")
        split = str(line.get("split", "")).strip().lower()
        split = ALIASES.get(split, split)
        if with_split and split not in SPLITS:
            raise VLPromptError(f"{where} has split {line['split']!r}; use train, val or test")
        words = str(name).strip()
        if labels.setdefault(words, label) != label:
            raise VLPromptError(f"{where}: class {words!r} has two labels, {labels[words]!r} and {label!r}")
        entries.append(Entry(Path(line["path"]).as_posix(), words, split if with_split else None))
    numbered = all(isinstance(label, int) for label in labels.values())
    if numbered and len(set(labels.values())) < len(labels):
        raise VLPromptError(f"split file {path} has two classes of one label; give each class its own")
    classes = sorted(labels, key=labels.__getitem__) if numbered else sorted(labels)
    return assemble(path, root, classes, entries, split_seed=split_seed, class_names=class_names)
