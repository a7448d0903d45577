"""Batches, learning rates and TensorBoard logs."""

import json
import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.impatient import Impatient
from vlprompt import VLPromptError
from vlprompt.config.schema import OptimConfig, RunConfig, parse_config
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord
from vlprompt.training.fit import learning_rate
from vlprompt.utils.seeds import derived_seed

SCHEDULES = json.loads((Path(__file__).parents[1] / "golden" / "lr_schedules.json").read_text())["schedules"]


def test_seeds_depend_on_every_part() -> None:
    assert derived_seed("epoch", 1, 2) == derived_seed("epoch", 1, 2)
    assert len({derived_seed("epoch", a, b) for a in range(4) for b in range(4)}) == 16
    assert derived_seed("epoch", 1, 2) == 817520774821060


@pytest.mark.parametrize("name", SCHEDULES)
def test_recorded_learning_rates_match_the_schedule(name: str) -> None:
    settings = {key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", name)}
    epochs, warmup = int(settings["epochs"]), int(settings["warmup_epochs"])
    optim = OptimConfig(lr=settings["lr"], epochs=epochs, warmup_epochs=warmup, warmup_lr=settings["warmup_lr"])
    rates = [learning_rate(optim, epoch) for epoch in range(epochs)]
    assert rates == pytest.approx(SCHEDULES[name], rel=1e-12, abs=1e-18)


@pytest.fixture
def config(weights: Path, pictures: Path) -> RunConfig:
    return parse_config(
        {
            "method": {"name": "coop", "n_ctx": 2},
            "backbone": {"source": str(weights)},
            "data": {"source": str(pictures), "shots": 4, "views": 1},
            "optim": {"epochs": 3, "batch_size": 5},
            "runtime": {"tensorboard": True},
        }
    )


def test_resumed_run_logs_every_epoch_once(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, tmp_path / "run", reporter=Impatient(7))
    assert written(tmp_path / "run", "loss/total")
    record = run_experiment(config, tmp_path / "run", resume=True)
    for name, expected in of_history(record).items():
        steps, values = zip(*written(tmp_path / "run", name), strict=True)
        assert steps == (1, 2, 3)
        assert values == pytest.approx(expected), name


def test_tensorboard_does_not_change_the_result(config: RunConfig, tmp_path: Path) -> None:
    plain = config.model_copy(update={"runtime": config.runtime.model_copy(update={"tensorboard": False})})
    records = [run_experiment(one, tmp_path / name) for one, name in ((config, "with"), (plain, "without"))]
    assert records[0].result_hash == records[1].result_hash
    assert [epoch.losses for epoch in records[0].history] == [epoch.losses for epoch in records[1].history]
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_missing_tensorboard_raises_before_training(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlprompt.training.fit.find_spec", lambda name: None)
    with pytest.raises(
        VLPromptError, match=r"runtime.tensorboard=true needs TensorBoard; run `pip install tensorboard`"
    ):
        run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def of_history(record: RunRecord) -> dict[str, list[float]]:
    return {
        "loss/total": [epoch.losses["total"] for epoch in record.history],
        "accuracy": [epoch.accuracy for epoch in record.history],
        "lr": [epoch.lr for epoch in record.history],
    }


def written(run: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]
