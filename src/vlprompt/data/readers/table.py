"""Read a table of images: CSV or Parquet."""

from pathlib import Path

import polars as pl

from vlprompt.data.class_names import NameMap, in_order
from vlprompt.data.dataset import Dataset
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.splits import split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import first_line

SUFFIXES = (".csv", ".parquet")


def read_table(path: Path, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset in a table with the columns `path`, `label` or `class_name` or both, and, optionally, `split`.

    Paths are relative to the table's folder. `class_name`, or `label` without it, is the class's name or a key of
    `name_map`; classes are sorted by `label`, numbers by value. `split` is train, val or test in every row, in any
    spelling of `split_names`; without the column, each class is split by seed, as for a folder. Columns of a .csv file
    are separated by commas, semicolons or tabs. Unreadable files are listed in `Dataset.skipped`.

    Args:
        path: the .csv or .parquet file.
        split_seed: seed of the split, for a table without one.
        name_map: see `words_for`.

    Raises:
        VLPromptError: the table cannot be read, or lacks a column or a cell; see also `assemble`.
    """
    if not path.is_file():
        raise VLPromptError(f"`data` {path} does not exist")
    try:
        columns = _read(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise VLPromptError(f"table {path} cannot be read: {first_line(error)}") from error
    entries: list[Entry] = []
    labels: dict[str, str] = {}
    splits = split_names(set(columns.get("split", ())))
    for row, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        if not any(cells):  # a blank line
            continue
        found = dict(zip(columns, cells, strict=True))
        empty = next((name for name, cell in found.items() if not cell), None)
        if empty is not None:
            raise VLPromptError(f"row {row} of table {path} has no {empty}; fill in the cell")
        name = found.get("class_name", found.get("label", ""))
        label = found.get("label", name)
        if labels.setdefault(name, label) != label:
            raise VLPromptError(f"table {path}: class {name!r} has two labels, {labels[name]!r} and {label!r}")
        if "split" in found and found["split"] not in splits:
            raise VLPromptError(f"row {row} of table {path}: split must be train, val or test, got {found['split']!r}")
        entries.append(Entry(Path(found["path"]).as_posix(), name, splits.get(found.get("split", ""))))
    if not entries:
        raise VLPromptError(f"table {path} has no rows")
    if len(set(labels.values())) < len(labels):
        raise VLPromptError(f"table {path} has two classes with the same label; give each a different one")
    names = {label: name for name, label in labels.items()}
    classes = [names[label] for label in in_order(names)]
    return assemble(path, path.parent, classes, entries, split_seed=split_seed, name_map=name_map)


def _read(path: Path) -> dict[str, list[str]]:
    """Return the required columns as text, with "" for empty cells."""
    if path.suffix.lower() == ".parquet":
        table = pl.read_parquet(path, glob=False).with_columns(pl.selectors.float().fill_nan(None))
    else:
        # Types are not inferred: a label `001` must stay text, and so must `7` if another label is `dog`.
        table = pl.read_csv(path, glob=False, infer_schema=False, separator=_separator(path))
    given = {name.strip().lower(): name for name in table.columns} | {name: name for name in table.columns}
    wanted = ("label",) if "class_name" not in given else ()
    for column in ("path", *wanted):
        if column not in given:
            raise VLPromptError(f"table {path} must have a column {column!r}, got {', '.join(table.columns)}")
    return {
        column: [cell.strip() for cell in table[given[column]].cast(pl.String).fill_null("")]
        for column in ("path", "label", "class_name", "split")
        if column in given
    }


def _separator(path: Path) -> str:
    """Guess the separator from the header line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return max(",;\t", key=header.count)
