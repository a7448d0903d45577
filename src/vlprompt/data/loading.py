"""`load_dataset`: one call for a dataset's name, a folder, or a manifest."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vlprompt.data.class_names import words_for
from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets.caltech101 import Caltech101
from vlprompt.data.datasets.cifar import CIFAR10, CIFAR100
from vlprompt.data.datasets.drawn_icons import DRAWN
from vlprompt.data.datasets.dtd import DTD
from vlprompt.data.datasets.eurosat import EuroSAT
from vlprompt.data.datasets.fgvc_aircraft import FGVCAircraft
from vlprompt.data.datasets.flowers102 import Flowers102
from vlprompt.data.datasets.food101 import Food101
from vlprompt.data.datasets.imagenet import ImageNet
from vlprompt.data.datasets.imagenet_shifted import ImageNetA, ImageNetR, ImageNetSketch, ImageNetV2
from vlprompt.data.datasets.on_disk import OnDisk
from vlprompt.data.datasets.oxford_pets import OxfordPets
from vlprompt.data.datasets.stanford_cars import StanfordCars
from vlprompt.data.datasets.sun397 import SUN397
from vlprompt.data.datasets.ucf101 import UCF101
from vlprompt.data.readers import hub
from vlprompt.data.readers import split_file as splits
from vlprompt.data.readers.folder import read_folder
from vlprompt.data.readers.table import SUFFIXES, read_manifest
from vlprompt.errors import VLPromptError
from vlprompt.registry import Registry

# In the field's order, with those that it does not have at the end.
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

# An entry is called with the data folder (None: the usual one). Those that are `Known` say more about themselves; a
# plug-in's may be any function.
DATASETS: Registry[Callable[[Path | None], Dataset]] = Registry("dataset")
for known in (*DRAWN, *ON_DISK):
    DATASETS.register(known.name)(known)


def list_datasets() -> list[str]:
    """Names that `load_dataset` knows, those of plug-ins included."""
    return DATASETS.names()


def load_dataset(
    source: str | Path,
    *,
    split_seed: int = 1,
    name_map: Mapping[str, str] | Path | None = None,
    class_names: Mapping[str, str] | Path | None = None,
    root: str | Path | None = None,
) -> Dataset:
    """Load a dataset by its name, from a folder of class folders, a .csv or .parquet manifest, or a .jsonl split file.

    A name wins over a folder of the same name; write `./name` for the folder. `hf:NAME`, `hf:NAME:CONFIG` and
    `hf:./FOLDER` are datasets of Hugging Face. Those with a name are not opened image by image, all others are.

    Args:
        source: the name or path.
        split_seed: splits sources that come without train, val and test; a named dataset has its own split.
        name_map: words for the classes, as a mapping or its .json, .yaml or .csv file.
        class_names: the same.
        root: the data folder that named datasets are looked for in, `VLPROMPT_DATA` or `data` unless given; or the
            folder that a split file's paths are relative to, its own unless given.

    Raises:
        VLPromptError: nothing of that name; its images are not there; no, one, or empty classes; a class without words.
    """
    class_names = class_names or name_map
    root = None if root is None else Path(root).expanduser()
    if str(source) in DATASETS:
        dataset = DATASETS.get(str(source))(root)
        return replace(dataset, class_names=words_for(dataset.class_names, class_names)) if class_names else dataset
    if str(source).startswith(hub.PREFIX):
        return hub.read_hub(str(source), split_seed=split_seed, class_names=class_names)
    path = Path(source).expanduser()
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return read_manifest(path, split_seed=split_seed, class_names=class_names)
    if path.suffix.lower() == splits.SUFFIX and not path.is_dir():
        return splits.read_split(path, root, split_seed=split_seed, class_names=class_names)
    if path.is_dir():
        return read_folder(path, split_seed=split_seed, class_names=class_names)
    if path.exists():
        raise VLPromptError(f"DATA {source} is neither a folder nor a .csv, .parquet or .jsonl file")
    close = difflib.get_close_matches(str(source).lower(), list_datasets(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"datasets: {', '.join(list_datasets())}"
    raise VLPromptError(f"DATA {source!s} is no folder here and no dataset; {hint}")
