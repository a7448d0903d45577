"""Training on two CPU processes matches training on one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.helpers.impatient import Impatient
from tests.helpers.shares import CASES, train
from vlprompt import VLPromptError
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import Epoch, read_record
from vlprompt.runs.state import read_progress
from vlprompt.training.distributed import check_devices

ROOT = Path(__file__).parents[2]


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest relative difference between tensors."""
    assert one.keys() == other.keys()
    norms = [(one[key].double(), other[key].double()) for key in one]
    return max(((a - b).norm() / a.norm().clamp(min=1e-9)).item() for a, b in norms)


def agree(one: list[Epoch], other: list[Epoch]) -> bool:
    """Return whether two histories agree."""
    assert [epoch.accuracy for epoch in one] == [epoch.accuracy for epoch in other]
    return all(a.losses == pytest.approx(b.losses, rel=1e-5, abs=1e-5) for a, b in zip(one, other, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the two processes are forks")
def test_two_devices_match_one_device(weights: Path, pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.helpers.shares", str(weights), str(pictures), str(tmp_path / "two")]
    both = subprocess.Popen(command, cwd=ROOT)
    alone = [train(case, 1, str(weights), str(pictures), tmp_path / "one" / str(case)) for case in range(len(CASES))]
    assert both.wait(timeout=240) == 0
    for case, (method, history) in enumerate(alone):
        learned = load_file(tmp_path / "two" / str(case) / "prompts.safetensors")
        assert difference(dict(method.state_dict()), learned) < 1e-5, CASES[case]
        assert agree(history, read_progress(tmp_path / "two" / str(case))[0]), CASES[case]
        assert history[0].losses != history[-1].losses


@pytest.fixture
def config(weights: Path, pictures: Path) -> Any:
    def make(devices: int, **changes: Any) -> RunConfig:
        return parse_config(
            {
                "method": {"name": "dapt", "n_text": 2, "n_visual": 2},
                "backbone": {"source": str(weights)},
                "data": {"source": str(pictures), "shots": 3},
                "optim": {"epochs": 30, "batch_size": 4, "lr": 0.001, "optimizer": "adamw", "eps": 1e-3},
                "runtime": {"devices": devices, "device": "cpu", "threads": 1, **changes},
            }
        )

    return make


def test_resume_with_another_number_of_devices(config: Any, tmp_path: Path) -> None:
    whole = run_experiment(config(1), tmp_path / "whole")
    folder = tmp_path / "cut"
    reporter = Impatient(after=1, when=(folder / "state.safetensors").exists)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config(2), folder, reporter=reporter)
    cut = read_record(folder)
    assert cut.status == "interrupted"
    assert cut.result_hash == whole.result_hash
    assert 0 < len(cut.history) < 30
    again = run_experiment(config(1), folder, resume=True)
    assert agree(whole.history, again.history)
    one, other = (load_file(tmp_path / name / "prompts.safetensors") for name in ("whole", "cut"))
    assert difference(one, other) < 1e-6
    assert again.metrics["test"]["images"] == whole.metrics["test"]["images"]


@pytest.mark.parametrize(
    ("devices", "changes", "message"),
    [
        (3, {}, "runtime.devices=3 cannot share batches of 4 images equally; set optim.batch_size to a multiple of 3"),
        (2, {"device": "cpu:0"}, "runtime.devices=2 needs `device` cpu or cuda, got cpu:0"),
    ],
)
def test_unequal_shares_raise(devices: int, changes: Any, message: str, config: Any) -> None:
    with pytest.raises(VLPromptError, match=message):
        check_devices(config(devices, **changes), 12, torch.device("cpu"))


def test_unavailable_devices_raise(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(VLPromptError, match=r"runtime.devices must be at most 1, the number of CUDA devices, got 2"):
        check_devices(config(2, device="cuda"), 12, torch.device("cuda", 0))
    with pytest.raises(VLPromptError, match="batches of 3 images"):
        check_devices(config(2), 3, torch.device("cpu"))
    check_devices(config(2), 4, torch.device("cpu"))
