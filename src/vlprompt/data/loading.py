"""`load_dataset` for names, folders, tables, split files and data frames, and the registry of named datasets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from vlprompt.data.class_names import NameMap, words_for
from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets.caltech101 import Caltech101
from vlprompt.data.datasets.cifar import CIFAR10, CIFAR100
from vlprompt.data.datasets.drawn_icons import DRAWN, Drawn
from vlprompt.data.datasets.dtd import DTD
from vlprompt.data.datasets.eurosat import EuroSAT
from vlprompt.data.datasets.fgvc_aircraft import FGVCAircraft
from vlprompt.data.datasets.flowers102 import Flowers102
from vlprompt.data.datasets.food101 import Food101
from vlprompt.data.datasets.imagenet import ImageNet
from vlprompt.data.datasets.imagenet_shifted import ImageNetA, ImageNetR, ImageNetSketch, ImageNetV2
from vlprompt.data.datasets.on_disk import OnDisk
from vlprompt.data.datasets.oxford_pets import OxfordPets
from vlprompt.data.datasets.pictobench import PICTOBENCH, SHIFTED
from vlprompt.data.datasets.stanford_cars import StanfordCars
from vlprompt.data.datasets.sun397 import SUN397
from vlprompt.data.datasets.ucf101 import UCF101
from vlprompt.data.readers import coop_split_file, hub, split_file
from vlprompt.data.readers.folder import read_folder
from vlprompt.data.readers.table import SUFFIXES, read_frame, read_table
from vlprompt.errors import VLPromptError
from vlprompt.registry import Registry
from vlprompt.utils.strings import did_you_mean

# In the order of CoOp's tables, followed by datasets that are not in them.
ON_DISK: tuple[OnDisk, ...] = (
    ImageNet(),
    Caltech101(),
    OxfordPets(),
    StanfordCars(),
    Flowers102(),
    Food101(),
    FGVCAircraft(),
    SUN397(),
    DTD(),
    EuroSAT(),
    UCF101(),
    ImageNetV2(),
    ImageNetSketch(),
    ImageNetA(),
    ImageNetR(),
    CIFAR10(),
    CIFAR100(),
)

# Entries are called with the data folder, or None for the default one. Built-in entries are instances of `Known`, which
# carry metadata; a plug-in may register any function.
DATASETS: Registry[Callable[[Path | None], Dataset]] = Registry("dataset")
for known in (*PICTOBENCH, *SHIFTED, *DRAWN, *ON_DISK):
    DATASETS.register(known.name)(known)

# Names that stand for several datasets wherever a list of datasets is given.
GROUPS: Mapping[str, tuple[str, ...]] = {"pictobench": tuple(known.name for known in PICTOBENCH)}


class Rows(Protocol):
    """Data frame of pandas or polars, or `datasets.Dataset` or `datasets.DatasetDict`."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the values of a column."""
        ...


def list_datasets() -> list[str]:
    """Return the sorted names of all registered datasets, including those of plug-ins.

    Examples:
        >>> "openmoji" in list_datasets()
        True
    """
    return DATASETS.names()


def expand_groups(names: Iterable[str]) -> list[str]:
    """Replace the names of groups of datasets by their members; each name is returned once.

    Examples:
        >>> expand_groups(["dtd", "pictobench"])[:3]
        ['dtd', 'pictobench-animals', 'pictobench-food']
    """
    return list(dict.fromkeys(member for name in names for member in GROUPS.get(name, (name,))))


def load_dataset(
    source: str | Path | Rows,
    *,
    split_seed: int = 1,
    name_map: NameMap | None = None,
    root: str | Path | None = None,
    exclude: Sequence[str] = (),
) -> Dataset:
    """Load a named dataset, or one from a folder, a table, a split file, a data frame, or a `datasets.Dataset`.

    A name takes precedence over a folder of that name; write `./name` for the folder. `hf:NAME`, `hf:NAME:CONFIG` and
    `hf:./FOLDER` are Hugging Face datasets. Images of named datasets are not opened; those of other sources are decoded
    once, and unreadable files are listed in `Dataset.skipped`. Outside of named datasets, no image is in two splits: a
    copy of a test image is not a training image, whatever its name.

    Args:
        source: name; path of a folder, of a .csv, .tsv or .parquet table, of a .jsonl split file, or of a .json split
            file in CoOp's format; or a frame with the columns of a table, or a loaded Hugging Face dataset.
        split_seed: seed of the train, val and test split, for sources without one, and for `openmoji`, `openmoji-line`
            and `fontawesome`; other named datasets have one split.
        name_map: mapping from folder names (or labels) to class names, or the path of its file (see `read_name_map`).
        root: folder of named datasets (default: `VLPROMPT_DATA`, else `data`), or the folder that paths in a split
            file are relative to (default: the file's folder).
        exclude: shell patterns of files and folders to leave out of a folder: `"*_mask.png"` and `"thumbs"` by their
            names, `"cat/old/*"` by their paths in it.

    Returns:
        Dataset whose class names are words for prompts.

    Raises:
        VLPromptError: the source is not found or cannot be read; a class has no images or no words; two classes have
            the same words; or there are fewer than two classes.

    Examples:
        >>> load_dataset("openmoji")  # doctest: +SKIP
        >>> load_dataset("photos", name_map={"n02099601": "golden retriever", "n02123045": "tabby"})  # doctest: +SKIP
    """
    root = None if root is None else Path(root).expanduser()
    if not isinstance(source, str | Path):
        if exclude:
            raise VLPromptError(f"`exclude` applies only to folders, got {type(source).__name__}; leave it out")
        return _load_rows(source, split_seed, name_map)
    if str(source) in GROUPS:
        members = ", ".join(GROUPS[str(source)])
        raise VLPromptError(f"`data` must be one dataset, got the group {source}; choose from {members}")
    path = Path(source).expanduser()
    if exclude and (str(source) in DATASETS or not path.is_dir()):
        raise VLPromptError(f"`exclude` applies only to folders, got `data` {source}; leave it out")
    if str(source) in DATASETS:
        entry = DATASETS.get(str(source))
        dataset = entry(root, split_seed) if isinstance(entry, Drawn) else entry(root)
        return replace(dataset, class_names=words_for(dataset.class_names, name_map)) if name_map else dataset
    if str(source).startswith(hub.PREFIX):
        return hub.read_hub(str(source), split_seed=split_seed, name_map=name_map)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return read_table(path, split_seed=split_seed, name_map=name_map)
    if path.suffix.lower() == split_file.SUFFIX and not path.is_dir():
        return split_file.read_split(path, root, split_seed=split_seed, name_map=name_map)
    if path.suffix.lower() == coop_split_file.SUFFIX and path.is_file():
        return coop_split_file.read_coop_split(path, root, name_map=name_map)
    if path.is_dir():
        return read_folder(path, split_seed=split_seed, name_map=name_map, exclude=exclude)
    if path.exists():
        raise VLPromptError(f"`data` must be a folder, or a .csv, .tsv, .parquet, .jsonl or .json file, got {source}")
    hint = did_you_mean(str(source), list_datasets()) or f"datasets: {', '.join(list_datasets())}"
    raise VLPromptError(f"`data` {source!s} is neither an existing folder or file nor a named dataset; {hint}")


def _load_rows(source: Any, split_seed: int, name_map: NameMap | None) -> Dataset:
    """Load a dataset from an object of another library, which need not be installed."""
    library = type(source).__module__.partition(".")[0]
    if library == "datasets":
        return hub.read_loaded(source, split_seed=split_seed, name_map=name_map)
    if library in ("pandas", "polars") and type(source).__name__ in ("DataFrame", "LazyFrame"):
        return read_frame(source, split_seed=split_seed, name_map=name_map)
    raise VLPromptError(
        "`data` must be a name, a path, a `Dataset`, a data frame with the columns path and label, or a Hugging Face "
        f"dataset, got {type(source).__name__}"
    )
