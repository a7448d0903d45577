"""Fixtures of grids on tiny data."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from vlprompt.experiments.grid import Grid
from vlprompt.experiments.plan import plan_grid

FAST = {"optim.epochs": 2, "optim.batch_size": 4, "data.views": 1}


@pytest.fixture
def make(weights: Path, pictures: Path, tmp_path: Path) -> Any:
    def planned(methods: list[str], protocol: str = "few-shot", **changes: Any) -> Grid:
        values: dict[str, Any] = {"shots": [1], "seeds": [1, 2], "out": tmp_path / "grid", **changes}
        values["settings"] = {"backbone.source": str(weights), **changes.get("settings", FAST)}
        return plan_grid(protocol, methods, values.pop("datasets", [str(pictures)]), **values)

    return planned


@pytest.fixture
def three(pictures: Path, tmp_path: Path) -> list[str]:
    """Three datasets with the same four classes."""
    for name in ("copy", "again"):
        shutil.copytree(pictures, tmp_path / name)
    return [str(pictures), str(tmp_path / "copy"), str(tmp_path / "again")]
