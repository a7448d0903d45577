"""Runs of several methods on four colored classes, with a random model of two layers."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.runs import Tuned
from vlprompt import load_backbone
from vlprompt.config.schema import parse_config
from vlprompt.experiments.run import tune


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Tuned:
    """The folder of a finished run of a method with these options, made once."""
    backbone = load_backbone(str(weights), device="cpu")
    folder = tmp_path_factory.mktemp("tuned")

    @cache
    def run(method: str, protocol: str = "few-shot", **options: Any) -> Path:
        values = {
            "protocol": protocol,
            "backbone": {"source": str(weights)},
            "method": {"name": method, **options},
            "data": {"source": str(pictures), "shots": 2},
            "optim": {"epochs": 1, "lr": 0.1, "warmup_epochs": 0},
            "runtime": {"device": "cpu"},
        }
        out = folder / f"{method}-{len(list(folder.iterdir()))}"
        tune(parse_config(values), out, backbone=backbone)
        return out

    return run
