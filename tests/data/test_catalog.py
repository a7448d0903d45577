"""Downloads through a fake torchvision that only creates folders."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets

from tests.helpers import dataset_trees as trees
from vlprompt.data.catalog import fetch
from vlprompt.data.loading import ON_DISK
from vlprompt.errors import VLPromptError


@pytest.mark.parametrize("name", ["caltech101", "oxford-pets", "flowers102", "food101", "sun397", "dtd", "eurosat"])
def test_torchvision_downloads_are_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = next(known for known in ON_DISK if known.name == name)
    asked: list[tuple[Path, bool]] = []

    def make(root: Path, download: bool) -> None:
        asked.append((root, download))
        trees.OFFICIAL[name](root)

    assert known.torchvision is not None
    monkeypatch.setattr(datasets, known.torchvision, make)
    found = fetch(name, tmp_path / "data")
    assert asked == [(tmp_path / "data", True)]
    assert known.where(tmp_path / "data") == str(found.folder)
    assert fetch(name, tmp_path / "data") == found
    assert len(asked) == 1, "what is there is not fetched again"


def test_fetch_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        VLPromptError, match="stanford-cars cannot be downloaded automatically; vlprompt data check stanford-cars"
    ):
        fetch("stanford-cars", tmp_path)
    with pytest.raises(VLPromptError, match="openmoji needs no download"):
        fetch("openmoji", tmp_path)
    with pytest.raises(VLPromptError, match="unknown dataset 'dtt'; did you mean 'dtd'"):
        fetch("dtt", tmp_path)

    def fail(root: Path, download: bool) -> Any:
        raise OSError("no route\nto host")

    monkeypatch.setattr(datasets, "DTD", fail)
    with pytest.raises(VLPromptError, match="dtd could not be downloaded: no route to host; vlprompt data check dtd"):
        fetch("dtd", tmp_path)
    monkeypatch.setattr(datasets, "DTD", lambda root, download: None)
    with pytest.raises(
        VLPromptError, match=r"dtd was downloaded, but its files are not in an expected folder: .* does not exist"
    ):
        fetch("dtd", tmp_path)


def test_torchvision_downloaders_exist() -> None:
    for known in ON_DISK:
        if known.torchvision is not None:
            parameters = inspect.signature(getattr(datasets, known.torchvision)).parameters
            assert next(iter(parameters)) == "root"
            assert "download" in parameters
            required = [p for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
            assert [p.name for p in required] == ["root"]
