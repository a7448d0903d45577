"""Read a Hugging Face dataset, from the hub or from a folder.

Images and labels are found by column type. The images are written into the cache unchanged.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlprompt.data.class_names import NameMap, are_numbers, in_order
from vlprompt.data.dataset import Dataset
from vlprompt.data.materialize import write_once
from vlprompt.data.readers.assemble import Entry, assemble
from vlprompt.data.split_names import SPLITS, split_names
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed, one_line

logger = logging.getLogger("vlprompt")

PREFIX = "hf:"
# If several columns qualify, such as CIFAR-100's fine and coarse labels, the first of these is used.
IMAGES = ("image", "img")
LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Labeled image: its index in the table of a split, and its class."""

    table: str
    index: int
    label: str

    @property
    def path(self) -> str:
        """Path of the image file in the cache folder."""
        return f"{self.table}/{self.index:06}"


def read_hub(source: str, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read the dataset `hf:NAME`, `hf:NAME:CONFIG` or `hf:./FOLDER`.

    A folder is either one that `datasets.load_dataset` reads (class folders, Parquet files, ...) or one written by
    `save_to_disk`. Splits for training, validation and testing (see `split_names`) are used unchanged; others are left
    out. Without labeled test images, those for validation are for testing. A dataset with a single split
    is split by seed, like a folder.

    Args:
        source: name or folder, with the prefix `hf:`.
        split_seed: seed of the split, for a dataset without splits.
        name_map: see `words_for`.

    Raises:
        VLPromptError: the extra `datasets` is not installed; the dataset is not found, or has no unique column of
            images or labels; see also `assemble`.
    """
    name, _, config = source.removeprefix(PREFIX).partition(":")
    called = Path(name).resolve().name if Path(name).exists() else f"{name}-{config}"
    return _read(source, called, _load(source), split_seed, name_map)


def read_loaded(loaded: Any, *, split_seed: int = 1, name_map: NameMap | None = None) -> Dataset:
    """Read a `datasets.Dataset` or `datasets.DatasetDict`, like the same data from the hub; see `read_hub`."""
    if any(type(table).__name__.startswith("Iterable") for table in (loaded, *_tables(loaded).values())):
        raise VLPromptError("`data` must not be a streamed dataset; load it without `streaming=True`")
    return replace(_read("the dataset", "dataset", _tables(loaded), split_seed, name_map), source="")


def _read(source: str, called: str, tables: Mapping[str, Any], split_seed: int, name_map: NameMap | None) -> Dataset:
    features = next(iter(tables.values())).features
    image, label = _image_column(source, features), _label_column(source, features)
    names = getattr(features[label], "names", None)
    labeled = {split: _rows(split, table[label][:], names) for split, table in tables.items()}
    rows = _splits(source, {split: found for split, found in labeled.items() if found})
    present = {row.label for found in rows.values() for row in found}
    # Folders called 1 to 10 have labels in alphabetical order.
    ordered = [] if names is None or are_numbers(names) else [name for name in names if name in present]
    classes = ordered or in_order(present)

    def files() -> Iterator[tuple[str, bytes]]:
        from datasets import Image

        stored = {split: table.cast_column(image, Image(decode=False)) for split, table in tables.items()}
        for found in rows.values():
            for row in found:
                yield row.path, _content(source, stored[row.table][row.index][image])

    plain = "".join(letter if letter.isalnum() else "-" for letter in called).strip("-")
    content = "\n".join([source, *(table._fingerprint for table in tables.values())])
    key = f"hf-{plain[-60:]}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    folder = write_once(key, f"writing {source}", sum(map(len, rows.values())), files)
    entries = [
        Entry(row.path, row.label, split if len(rows) > 1 or split == "test" else None)
        for split, found in rows.items()
        for row in found
    ]
    dataset = assemble(Path(source), folder, classes, entries, split_seed=split_seed, name_map=name_map)
    return replace(dataset, name=plain, source=source)


def _load(source: str) -> dict[str, Any]:
    """Return the tables of a dataset, by split."""
    try:
        import datasets
    except ImportError as error:
        raise VLPromptError(f'{source} requires the datasets package: pip install "vlprompt[datasets]"') from error
    name, _, config = source.removeprefix(PREFIX).partition(":")
    folder = Path(name).expanduser()
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        found = datasets.load_from_disk(folder) if saved else datasets.load_dataset(name, config or None)
    except Exception as error:  # missing datasets, networks and files raise many types
        raise VLPromptError(f"{source} cannot be loaded: {one_line(error)}") from error
    tables = _tables(found)
    splits = split_names(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() and not saved else {}
    if len(set(splits.values())) > 1 and not set(splits.values()) <= set(split_names(tables).values()):
        # The library does not know `Training` or `test_set`, and leaves such folders out or reads all as one split.
        raise VLPromptError(
            f"{source} has the folders {listed(sorted(splits))}, of which `datasets` reads {listed(tables)} alone; "
            f"give `data` as {folder}, without hf:"
        )
    return tables


def _tables(found: Any) -> dict[str, Any]:
    return dict(found) if isinstance(found, dict) else {"train": found}


def _image_column(source: str, features: Mapping[str, Any]) -> str:
    columns = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    return _pick_column(source, "images", columns, IMAGES, features)


def _label_column(source: str, features: Mapping[str, Any]) -> str:
    columns = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    return _pick_column(source, "labels", columns or [name for name in features if name in LABELS], LABELS, features)


def _pick_column(
    source: str, what: str, columns: list[str], wanted: tuple[str, ...], features: Mapping[str, Any]
) -> str:
    if len(columns) == 1:
        return columns[0]
    usual = next((name for name in wanted if name in columns), None)
    if usual is not None:
        return usual
    found = f"got {', '.join(columns)}" if columns else f"got none among {', '.join(features)}"
    raise VLPromptError(
        f"{source} must have one column of {what}, {found}; keep one, call it {wanted[0]!r}, and load the folder that "
        "save_to_disk writes"
    )


def _rows(split: str, values: list[Any], names: list[str] | None) -> list[StoredImage]:
    """Return the labeled images; a withheld label is None, NaN or -1."""
    known = [(index, value) for index, value in enumerate(values) if value not in (None, -1) and value == value]
    return [StoredImage(split, index, names[value] if names else str(value)) for index, value in known]


def _splits(source: str, labeled: dict[str, list[StoredImage]]) -> dict[str, list[StoredImage]]:
    if not labeled:
        raise VLPromptError(f"{source} has no labeled images")
    if len(labeled) == 1:
        ((name, found),) = labeled.items()
        return {split_names([name]).get(name, "train"): found}
    names = split_names(labeled)
    rows: dict[str, list[StoredImage]] = {}
    for name, split in names.items():
        rows.setdefault(split, []).extend(labeled[name])
    if "train" not in rows:
        raise VLPromptError(f"{source} must have a split called train, got {', '.join(labeled)}")
    others = [f"{name} ({len(found):,})" for name, found in labeled.items() if name not in names]
    if others:
        logger.warning("%s: splits that are left out: %s", source, listed(others, quote=False))
    return {split: rows[split] for split in SPLITS if split in rows}


def _content(source: str, stored: Mapping[str, Any]) -> bytes:
    if stored["bytes"] is not None:
        return bytes(stored["bytes"])
    try:
        return Path(stored["path"]).read_bytes()
    except OSError as error:
        raise VLPromptError(f"image {stored['path']} of {source} cannot be read: {error.strerror}") from error
