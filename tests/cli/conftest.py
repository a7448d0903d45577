"""Fixtures of the command-line tests."""

import sys
from pathlib import Path

import pytest

from vlprompt.cli.main import main


@pytest.fixture(scope="session")
def fast() -> list[str]:
    """Options that make a run take a second."""
    return ["--epochs", "2", "--batch-size", "8", "--shots", "4"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path, fast: list[str]) -> Path:
    """Finished DAPT run, shared by all tests and never changed."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    words = ["vlprompt", "tune", pictures, "--backbone", weights, "--out", folder, "--quiet", *fast]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", list(map(str, words)))
        main()
    assert stop.value.code == 0
    return folder
