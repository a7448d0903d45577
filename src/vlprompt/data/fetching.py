"""Downloading a dataset through torchvision, where torchvision can."""

from pathlib import Path

from vlprompt.data.datasets.on_disk import Found, OnDisk, data_root
from vlprompt.data.loading import DATASETS
from vlprompt.errors import VLPromptError


def fetch(name: str, root: Path | None = None) -> Found:
    """Download a dataset into the data folder, if it is not there already.

    Returns:
        the layout that is there then.

    Raises:
        VLPromptError: torchvision has no download for it, or the download failed.
    """
    known = DATASETS.get(name)
    if not isinstance(known, OnDisk):
        raise VLPromptError(f"{name} needs no fetching: its images come with a package")
    found = known.find(root)
    if found is not None:
        return found
    if known.torchvision is None:
        raise VLPromptError(
            f"{name} cannot be downloaded by a program; `vlprompt data check {name}` says what to fetch from where"
        )
    from torchvision import datasets

    folder = data_root(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(datasets, known.torchvision)(folder, download=True)
    except Exception as error:  # of the network, the archives or the disk
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VLPromptError(
            f"{name} was not downloaded: {reason}; `vlprompt data check {name}` says what to fetch from where"
        ) from error
    found = known.find(root)
    if found is None:
        raise VLPromptError(f"{name} was downloaded, but its folder is not as expected: {known.tried(root)}")
    return found
