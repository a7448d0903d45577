"""Read a table of images: a CSV or Parquet file, or a data frame."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from vlprompt.data.class_names import NameMap, in_order
from vlprompt.data.dataset import Dataset
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.split_names import split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import first_line, listed, read_problem
from vlprompt.utils.text_files import read_text, separator_of

SUFFIXES = (".csv", ".tsv", ".parquet")
# Columns that are read; the others are ignored.
COLUMNS = ("path", "label", "class_name", "split")


def read_table(path: Path, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset in a table with the columns `path`, `label` or `class_name` or both, and, optionally, `split`.

    Paths are relative to the table's folder. `class_name`, or `label` without it, is the class's name or a key of
    `name_map`; classes are sorted by `label`, numbers by value. `split` is train, val or test in every row, in any
    spelling of `split_names`; without the column, each class is split by seed, as for a folder. A .csv or .tsv file is
    in UTF-8 or UTF-16, with columns separated by commas, semicolons or tabs. Unreadable files are listed in
    `Dataset.skipped`.

    Args:
        path: the .csv, .tsv or .parquet file.
        split_seed: seed of the split, for a table without one.
        name_map: see `words_for`.

    Raises:
        VLPromptError: the table cannot be read, or lacks a column or a cell; see also `assemble`.
    """
    if not path.is_file():
        raise VLPromptError(f"`data` {path} does not exist")
    try:
        columns = _read(path)
    except UnicodeDecodeError as error:
        raise VLPromptError(f"table {path} cannot be read: {read_problem(error)}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise VLPromptError(f"table {path} cannot be read: {first_line(error)}") from error
    return _assemble(f"table {path}", columns, path, path.parent, split_seed, name_map)


def read_frame(frame: Any, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset in a pandas or polars data frame with the columns of `read_table`.

    Paths are relative to the working directory.

    Args:
        frame: the data frame.
        split_seed: seed of the split, for a table without one.
        name_map: see `words_for`.

    Raises:
        VLPromptError: the frame lacks a column or a cell; see also `assemble`.
    """
    frame = frame.collect() if hasattr(frame, "collect") else frame  # a lazy frame of polars
    names = [str(name) for name in frame.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise VLPromptError(f"the data frame has two columns {twice[0]!r}; keep one")
    cells = {str(name): frame[name] for name in frame.columns}
    columns = _texts("the data frame", {name: column.to_list() for name, column in cells.items()})
    dataset = _assemble("the data frame", columns, Path("frame"), Path.cwd(), split_seed, name_map)
    return replace(dataset, source="")


def _read(path: Path) -> dict[str, list[str]]:
    if path.suffix.lower() == ".parquet":
        table = pl.read_parquet(path, glob=False)
    else:
        separator, text = separator_of(read_text(path))
        # Types are not inferred: a label `001` must stay text, and so must `7` if another label is `dog`.
        table = pl.read_csv(text.encode(), infer_schema=False, separator=separator)
    return _texts(f"table {path}", {name: table[name].to_list() for name in table.columns})


def _texts(what: str, table: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """Return the required columns as text, with "" for empty cells."""
    given = {name.strip().lower(): name for name in table} | {name: name for name in table}
    wanted = ("label",) if "class_name" not in given else ()
    for column in ("path", *wanted):
        if column not in given:
            raise VLPromptError(f"{what} must have a column {column!r}, got {listed(table, 20, quote=False)}")
    return {
        column: ["" if _is_missing(cell) else str(cell).strip() for cell in table[given[column]]]
        for column in COLUMNS
        if column in given
    }


def _is_missing(cell: Any) -> bool:
    try:
        return cell is None or bool(cell != cell)
    except TypeError:  # pandas.NA is neither true nor false
        return True


def _assemble(
    what: str,
    columns: Mapping[str, Sequence[str]],
    source: Path,
    root: Path,
    split_seed: int,
    name_map: NameMap | None,
) -> Dataset:
    entries: list[Entry] = []
    labels: dict[str, str] = {}
    splits = split_names(set(columns.get("split", ())))
    for row, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        if not any(cells):  # a blank line
            continue
        found = dict(zip(columns, cells, strict=True))
        empty = next((name for name, cell in found.items() if not cell), None)
        if empty is not None:
            raise VLPromptError(f"row {row} of {what} has no {empty}; fill in the cell")
        name = found.get("class_name", found.get("label", ""))
        label = found.get("label", name)
        if labels.setdefault(name, label) != label:
            raise VLPromptError(f"{what}: class {name!r} has two labels, {labels[name]!r} and {label!r}")
        if "split" in found and found["split"] not in splits:
            raise VLPromptError(f"row {row} of {what}: split must be train, val or test, got {found['split']!r}")
        entries.append(Entry(Path(found["path"]).as_posix(), name, splits.get(found.get("split", ""))))
    if not entries:
        raise VLPromptError(f"{what} has no rows")
    if len(set(labels.values())) < len(labels):
        raise VLPromptError(f"{what} has two classes with the same label; give each a different one")
    names = {label: name for name, label in labels.items()}
    classes = [names[label] for label in in_order(names)]
    return assemble(source, root, classes, entries, split_seed=split_seed, name_map=name_map)
