"""A table of images: CSV or Parquet."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from vlprompt.data.dataset import Dataset
from vlprompt.data.readers.assemble import ALIASES, SPLITS, Entry, assemble, in_order
from vlprompt.errors import VLPromptError

SUFFIXES = (".csv", ".parquet")


def read_manifest(path: Path, *, split_seed: int = 1, class_names: Mapping[str, str] | Path | None = None) -> Dataset:
    """The dataset in a table with the columns `path`, `label` or `class_name` or both, and, optionally, `split`.

    Paths are relative to the manifest's folder. `class_name` (`label` where there is none) is the class's name or a key
    of `class_names`; classes are sorted by `label`, numbers as numbers. `split` is train, val (or valid, validation) or
    test for every row; without the column each class is split by seed as a folder's is. The columns of a .csv file have
    commas, semicolons or tabs between them. Files that cannot be read are in `Dataset.skipped`.
    """
    if not path.is_file():
        raise VLPromptError(f"DATA {path}: no such manifest")
    try:
        columns = _read(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise VLPromptError(f"manifest {path} cannot be read: {reason}") from error
    entries: list[Entry] = []
    labels: dict[str, str] = {}
    for row, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        if not any(cells):  # a blank line
            continue
        found = dict(zip(columns, cells, strict=True))
        empty = next((name for name, cell in found.items() if not cell), None)
        if empty is not None:
            raise VLPromptError(f"manifest {path} has no {empty} in row {row}")
        name = found.get("class_name", found.get("label", ""))
        label = found.get("label", name)
        if labels.setdefault(name, label) != label:
            raise VLPromptError(f"manifest {path}: class {name!r} has two labels, {labels[name]!r} and {label!r}")
        split = _split(path, row, found["split"]) if "split" in found else None
        entries.append(Entry(Path(found["path"]).as_posix(), name, split))
    if not entries:
        raise VLPromptError(f"manifest {path} has no rows")
    if len(set(labels.values())) < len(labels):
        raise VLPromptError(f"manifest {path} has two classes of one label; give each class its own")
    names = {label: name for name, label in labels.items()}
    classes = [names[label] for label in in_order(names)]
    return assemble(path, path.parent, classes, entries, split_seed=split_seed, class_names=class_names)


def _read(path: Path) -> dict[str, list[str]]:
    """The columns that are of use, as text; "" where a cell is empty."""
    if path.suffix.lower() == ".parquet":
        table = pl.read_parquet(path, glob=False).with_columns(pl.selectors.float().fill_nan(None))
    else:
        # Types are not guessed: a label `001` is no number, and `7` above `dog` is a word.
        table = pl.read_csv(path, glob=False, infer_schema=False, separator=_separator(path))
    given = {name.strip().lower(): name for name in table.columns} | {name: name for name in table.columns}
    wanted = ("label",) if "class_name" not in given else ()
    for column in ("path", *wanted):
        if column not in given:
            raise VLPromptError(f"manifest {path} has no column {column!r}; it has {', '.join(table.columns)}")
    return {
        column: [cell.strip() for cell in table[given[column]].cast(pl.String).fill_null("")]
        for column in ("path", "label", "class_name", "split")
        if column in given
    }


def _separator(path: Path) -> str:
    """What stands between the names in the first line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return max(",;\t", key=header.count)


def _split(path: Path, row: int, value: str) -> str:
    split = ALIASES.get(value.lower(), value.lower())
    if split not in SPLITS:
        raise VLPromptError(f"manifest {path} has split {value!r} in row {row}; use train, val or test")
    return split
