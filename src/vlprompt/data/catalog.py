"""Metadata and downloads of named datasets."""

from pathlib import Path
from typing import Any

from vlprompt.data.datasets.known import Known
from vlprompt.data.datasets.on_disk import Found, OnDisk, data_root
from vlprompt.data.loading import DATASETS, list_datasets
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import one_line


def catalog(root: Path | None = None) -> list[dict[str, Any]]:
    """Return the metadata of every named dataset, and where its images are, as JSON-ready data.

    An entry of a plug-in that is not a `Known` has only a name and the first line of its docstring.

    Args:
        root: data folder; None for the default one.
    """
    return [_entry(name, root) for name in list_datasets()]


def fetch(name: str, root: Path | None = None) -> Found:
    """Download a dataset through torchvision into the data folder, unless it exists.

    Args:
        name: name of the dataset.
        root: data folder; None for the default one.

    Returns:
        The layout that was found, and its folder.

    Raises:
        VLPromptError: torchvision cannot download the dataset, or the download failed.
    """
    known = DATASETS.get(name)
    if not isinstance(known, OnDisk):
        raise VLPromptError(f"{name} needs no download: its images come with a package")
    found = known.find(root)
    if found is not None:
        return found
    by_hand = f"vlprompt data check {name} shows where to download it"
    if known.torchvision is None:
        raise VLPromptError(f"{name} cannot be downloaded automatically; {by_hand}")
    from torchvision import datasets

    folder = data_root(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(datasets, known.torchvision)(folder, download=True)
    except Exception as error:  # errors of the network, the archives and the disk have many types
        raise VLPromptError(f"{name} could not be downloaded: {one_line(error)}; {by_hand}") from error
    found = known.find(root)
    if found is None:
        raise VLPromptError(f"{name} was downloaded, but its files are not in an expected folder: {known.tried(root)}")
    return found


def _entry(name: str, root: Path | None) -> dict[str, Any]:
    known = DATASETS.get(name)
    if not isinstance(known, Known):
        return {"name": name, "about": (known.__doc__ or "").strip().split("\n")[0]}
    return {
        "name": name,
        "about": known.about,
        "classes": len(known.class_names),
        "sizes": {split: size.images for split, size in known.sizes.items()},
        "template": known.template,
        "license": known.license,
        "url": known.url,
        "shifted": list(known.shifted),
        "where": known.where(root),
        "class_names": list(known.class_names),
    }
