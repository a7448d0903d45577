"""Split files: the train, val and test images of a run, for others to reuse.

JSON lines in UTF-8. The first line is the header, every other line an image:

    {"vlprompt_split": 1, "dataset", "template", "shots", "seed", "classes": [...], "hash", "content"}
    {"path", "label", "class_name", "split", "sha256"}

Paths are relative. `hash` is `Dataset.split_hash()`. `content` is `Dataset.content_hash`, which depends on the images
rather than their paths, so that it can be compared across different folders.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from vlprompt.data.class_names import NameMap, in_order, words_for
from vlprompt.data.dataset import Dataset, Item, hash_of_images, hash_of_split
from vlprompt.data.file_facts import content_hashes, file_hashes, unreadable
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.split_names import SPLITS, split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write
from vlprompt.utils.strings import describe_validation_error, error_reason, read_problem
from vlprompt.utils.text_files import read_text

SUFFIX = ".jsonl"
# Keys of a line in a user-written file.
FIELDS = ("path", "label", "class_name", "split")
OBJECT = TypeAdapter(dict[str, Any])


class Header(BaseModel):
    """Header line. `shots` and `seed` are those of a few-shot sample; None if the file holds all images."""

    vlprompt_split: Literal[1] = 1
    dataset: str
    template: str
    shots: int | None
    seed: int | None
    classes: list[str]
    hash: str
    content: str


class SplitLine(BaseModel):
    """Image line: POSIX path relative to the root, class, split, and SHA-256 of the file."""

    path: str
    label: int
    class_name: str
    split: Literal["train", "val", "test"]
    sha256: str


Line = TypeVar("Line", Header, SplitLine)


def write_split(dataset: Dataset, path: Path) -> Header:
    """Write the images of all splits to a split file, in order and with their hashes; return its header."""
    items = [(split, item) for split, part in dataset.splits().items() for item in part]
    hashes = content_hashes(dataset.root, [item.path for _, item in items])
    rows = [
        SplitLine(
            path=item.path, label=item.label, class_name=dataset.class_names[item.label], split=split, sha256=found
        )
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
    name_map: NameMap | None = None,
) -> Dataset:
    """Read the dataset in a split file. The output of `write_split` keeps its `split_hash()`.

    A user-written file needs no header: each line has `path`, `class_name` or `label` or both, and `split` in all lines
    or none. Classes are in the order of their labels if those are integers, else in alphabetical order, or by value if
    all of them are numbers. Without `split`, each class is split by seed, as for a folder. Unreadable files are listed
    in `Dataset.skipped`.

    Args:
        path: the file.
        root: folder that paths are relative to; by default the file's folder.
        split_seed: seed of the split, for a user-written file without `split`.
        name_map: see `words_for`.

    Raises:
        VLPromptError: a line cannot be read; the header does not match the other lines; images of a file with a header
            are missing or cannot be read; see also `assemble`.
    """
    root = path.parent if root is None else root
    lines = _read_lines(path)
    if not _has_header(lines):
        return _own_dataset(path, root, lines, split_seed, name_map)
    header, rows = _parse(path, lines)
    lost = [row.path for row in rows if not (root / row.path).is_file()]
    if lost:
        raise VLPromptError(
            f"{len(lost)} of {len(rows)} images of {path} are not in {root}, the first is {lost[0]}; "
            "give their folder as `root`"
        )
    bad = unreadable(root, [row.path for row in rows])
    if bad:
        first, reason = next(iter(bad.items()))
        raise VLPromptError(f"{len(bad)} images of {path} cannot be read; the first is {first}: {reason}")
    dataset = replace(_dataset(header, rows), root=root, source=str(path))
    return replace(dataset, class_names=words_for(dataset.class_names, name_map)) if name_map else dataset


def verify_split(path: Path, root: Path | None = None) -> dict[str, str]:
    """Compare images with their hashes in a file of `write_split`; return the differences by path.

    Args:
        path: the file.
        root: folder that paths are relative to; by default the file's folder.

    Raises:
        VLPromptError: the file has no header, or was changed after it was written.
    """
    root = path.parent if root is None else root
    lines = _read_lines(path)
    if not _has_header(lines):
        raise VLPromptError(
            f"{path} has no header, so its images cannot be verified; use a file written by write_split"
        )
    _, rows = _parse(path, lines)
    there = [row.path for row in rows if (root / row.path).is_file()]
    found = dict(zip(there, file_hashes(root, there), strict=True))
    return {
        row.path: "has changed" if row.path in found else "is missing"
        for row in rows
        if found.get(row.path) != row.sha256
    }


def recorded_hashes(path: Path) -> set[str]:
    """Return the hashes of the images in a file of `write_split`; empty if there is no such file.

    Raises:
        VLPromptError: the file cannot be read, or was changed after it was written.
    """
    return {row.sha256 for row in _parse(path, _read_lines(path))[1]} if path.is_file() else set()


def _content(class_names: Iterable[str], rows: Iterable[SplitLine]) -> str:
    return hash_of_images(class_names, ((row.split, row.label, row.sha256) for row in rows))


def _read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the JSON objects of a file with their line numbers."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise VLPromptError(f"split file {path} cannot be read: {read_problem(error)}") from error
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                lines.append((number, OBJECT.validate_json(line)))
            except ValidationError as error:
                raise VLPromptError(
                    f"line {number} of split file {path} {error_reason(error)}; write {{...}}"
                ) from error
    if not lines:
        raise VLPromptError(f"split file {path} is empty")
    return lines


def _has_header(lines: list[tuple[int, dict[str, Any]]]) -> bool:
    return "vlprompt_split" in lines[0][1]


def _parse(path: Path, lines: list[tuple[int, dict[str, Any]]]) -> tuple[Header, list[SplitLine]]:
    """Return header and rows after checking that they match."""
    header = _validated(Header, path, *lines[0])
    rows = [_validated(SplitLine, path, number, content) for number, content in lines[1:]]
    names = dict(enumerate(header.classes))
    same = (
        all(names.get(row.label) == row.class_name for row in rows)
        and hash_of_split(header.classes, _splits(rows)) == header.hash
        and _content(header.classes, rows) == header.content
    )
    if not same:
        raise VLPromptError(
            f"split file {path} was changed after it was written: its lines do not match its header; use the original, "
            "or remove the header to use it as your own split"
        )
    return header, rows


def _validated(model: type[Line], path: Path, number: int, content: dict[str, Any]) -> Line:
    try:
        return model(**content)
    except ValidationError as error:
        reason = describe_validation_error(error)
        raise VLPromptError(f"line {number} of split file {path} cannot be read ({reason})") from error


def _dataset(header: Header, rows: list[SplitLine]) -> Dataset:
    """Return the dataset in a file, without its root folder."""
    splits = _splits(rows)
    return Dataset(
        name=header.dataset,
        root=Path(),
        class_names=tuple(header.classes),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        template=header.template,
        drawn=None if header.shots is None or header.seed is None else (header.shots, header.seed),
    )


def _splits(rows: list[SplitLine]) -> dict[str, tuple[Item, ...]]:
    return {split: tuple(Item(row.path, row.label) for row in rows if row.split == split) for split in SPLITS}


def _own_dataset(
    path: Path,
    root: Path,
    lines: list[tuple[int, dict[str, Any]]],
    split_seed: int,
    name_map: NameMap | None,
) -> Dataset:
    with_split = "split" in lines[0][1]
    splits = split_names({str(line.get("split", "")).strip() for _, line in lines})
    entries: list[Entry] = []
    labels: dict[str, Any] = {}
    for number, line in lines:
        where = f"line {number} of split file {path}"
        label, name = line.get("label"), line.get("class_name")
        label = label.strip() if isinstance(label, str) else label
        name = label if name is None else name
        if not line.get("path") or name is None or not str(name).strip():
            raise VLPromptError(f"{where} must have path, and class_name or label")
        if not isinstance(line["path"], str) or any(isinstance(line.get(key), list | dict) for key in FIELDS):
            raise VLPromptError(f"{where}: path must be text, and other values text or numbers")
        if ("split" in line) != with_split:
            raise VLPromptError(f"{where}: split must be in all lines or in none")
        split = splits.get(str(line.get("split", "")).strip())
        if with_split and split is None:
            raise VLPromptError(f"{where}: split must be train, val or test, got {line['split']!r}")
        words = str(name).strip()
        if labels.setdefault(words, label) != label:
            raise VLPromptError(f"{where}: class {words!r} has two labels, {labels[words]!r} and {label!r}")
        entries.append(Entry(Path(line["path"]).as_posix(), words, split))
    numbered = all(isinstance(label, int) for label in labels.values())
    if numbered and len(set(labels.values())) < len(labels):
        raise VLPromptError(f"split file {path} has two classes with the same label; give each a different one")
    classes = sorted(labels, key=labels.__getitem__) if numbered else in_order(labels)
    return assemble(path, root, classes, entries, split_seed=split_seed, name_map=name_map)
