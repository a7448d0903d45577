"""A table of images: CSV or Parquet."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from vlprompt.data.assembly import ALIASES, SPLITS, Entry, assemble
from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError

SUFFIXES = (".csv", ".parquet")


def read_manifest(path: Path, *, split_seed: int = 1, class_names: Mapping[str, str] | Path | None = None) -> Dataset:
    """The dataset in a table with the columns `path`, `label` and, optionally, `split`.

    Paths are relative to the manifest's folder. `label` is the class's name (or a key of `class_names`); classes are
    sorted by it, numbers as numbers. `split` is train, val (or valid, validation) or test for every row; without
    the column each class is split by seed as a folder's is. Files that cannot be read are in `Dataset.skipped`.
    """
    if not path.is_file():
        raise VLPromptError(f"DATA {path}: no such manifest")
    try:
        columns, classes = _read(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise VLPromptError(f"manifest {path} cannot be read: {reason}") from error
    splits = _splits(path, columns["split"]) if "split" in columns else [None] * len(columns["path"])
    entries = [
        Entry(Path(file).as_posix(), label, split)
        for file, label, split in zip(columns["path"], columns["label"], splits, strict=True)
    ]
    return assemble(path, path.parent, classes, entries, split_seed=split_seed, class_names=class_names)


def _read(path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The columns as text, and the classes in their order."""
    table = pl.read_parquet(path, glob=False) if path.suffix.lower() == ".parquet" else pl.read_csv(path, glob=False)
    for column in ("path", "label"):
        if column not in table.columns:
            raise VLPromptError(f"manifest {path} has no column {column!r}; it has {', '.join(table.columns)}")
    if table.is_empty():
        raise VLPromptError(f"manifest {path} has no rows")
    columns = [name for name in ("path", "label", "split") if name in table.columns]
    for column in columns:
        if table[column].null_count():
            row = table[column].is_null().arg_max() or 0
            raise VLPromptError(f"manifest {path} has no {column} in row {row + 1}")
    classes = table["label"].unique().sort().cast(pl.String).to_list()
    return {column: table[column].cast(pl.String).to_list() for column in columns}, classes


def _splits(path: Path, column: list[str]) -> list[str | None]:
    splits: list[str | None] = [ALIASES.get(value, value) for value in column]
    for row, split in enumerate(splits):
        if split not in SPLITS:
            raise VLPromptError(f"manifest {path} has split {split!r} in row {row + 1}; use train, val or test")
    return splits
