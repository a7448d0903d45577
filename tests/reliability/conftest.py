from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.faults import Disk
from tests.helpers.folders import content
from tests.helpers.kills import draw
from vlprompt.backbones.backbone import load_backbone
from vlprompt.config.resolve import resolve_config
from vlprompt.config.schema import RunConfig
from vlprompt.experiments.run import run_experiment
from vlprompt.experiments.task import load_pool
from vlprompt.runs.record import RunRecord


@dataclass(frozen=True)
class Setting:
    """A very short run.

    Attributes:
        words: command-line arguments that start or resume it, without its folder.
        config: the same as a configuration.
        loaded: backbone and dataset.
        images: folder of the images.
        folder: folder of an undisturbed run.
        expected: content of that folder.
        steps: file operations of that run.
    """

    words: list[str]
    config: RunConfig
    loaded: dict[str, Any]
    images: Path
    folder: Path
    expected: dict[str, Any]
    steps: list[str]

    def run_experiment(self, folder: Path) -> RunRecord:
        """Start or resume the run."""
        return run_experiment(self.config, folder, resume=True, **self.loaded)


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Setting:
    root = tmp_path_factory.mktemp("setting")
    images = draw(root / "images")
    options = {"method.n_ctx": 2, "data.views": 1, "optim.epochs": 2, "optim.batch_size": 3, "optim.optimizer": "adamw"}
    flags = {"backbone.source": str(weights), "data.source": str(images), "data.shots": 1, "runtime.device": "cpu"}
    config = resolve_config(method="coop", settings={**flags, **options})
    words = ["tune", str(images), "--method", "coop", "--backbone", str(weights), "--shots", "1", "--device", "cpu"]
    for key, value in options.items():
        words += ["--set", f"{key}={value}"]
    loaded = {"backbone": load_backbone(weights, device="cpu"), "pools": {str(images): load_pool(config.data)}}
    run_experiment(config, root / "first", **loaded)  # fills the cache, which is not under test
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, root / "whole")
        run_experiment(config, root / "whole", **loaded)
    words += ["--quiet", "--resume", "--out"]
    return Setting(words, config, loaded, images, root / "whole", content(root / "whole"), disk.steps)
