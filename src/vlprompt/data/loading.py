"""`load_dataset`: one call for a dataset's name, a folder, or a manifest."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vlprompt.data import pictures
from vlprompt.data.class_names import words_for
from vlprompt.data.dataset import Dataset
from vlprompt.data.folders import read_folder
from vlprompt.data.manifest import SUFFIXES, read_manifest
from vlprompt.errors import VLPromptError
from vlprompt.registry import Registry

DATASETS: Registry[Callable[[], Dataset]] = Registry("dataset")
DATASETS.register("openmoji")(pictures.openmoji)
DATASETS.register("openmoji-line")(pictures.openmoji_line)
DATASETS.register("fontawesome")(pictures.fontawesome)


def list_datasets() -> list[str]:
    """Names that `load_dataset` knows, those of plug-ins included."""
    return DATASETS.names()


def load_dataset(
    source: str | Path, *, split_seed: int = 1, class_names: Mapping[str, str] | Path | None = None
) -> Dataset:
    """Load a dataset by its name, from a folder of class folders, or from a .csv or .parquet manifest.

    A name wins over a folder of the same name; write `./name` for the folder.

    Args:
        source: the name or path.
        split_seed: splits sources that come without train, val and test; a named dataset has its own split.
        class_names: words for the classes, as a mapping or its .json, .yaml or .csv file.

    Raises:
        VLPromptError: nothing of that name; no, one, or empty classes; a class without words.
    """
    if str(source) in DATASETS:
        dataset = DATASETS.get(str(source))()
        return replace(dataset, class_names=words_for(dataset.class_names, class_names)) if class_names else dataset
    path = Path(source).expanduser()
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return read_manifest(path, split_seed=split_seed, class_names=class_names)
    if path.is_dir():
        return read_folder(path, split_seed=split_seed, class_names=class_names)
    if path.exists():
        raise VLPromptError(f"DATA {source} is neither a folder nor a .csv or .parquet manifest")
    raise VLPromptError(f"DATA {source!s} is no folder here and no dataset; datasets: {', '.join(list_datasets())}")
