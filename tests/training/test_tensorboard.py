"""What TensorBoard finds beside a run."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.impatient import Impatient
from vlprompt import VLPromptError
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.experiments.run import tune
from vlprompt.runs.record import RunRecord


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


def test_every_epoch_is_there_once_after_an_interruption(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(config, tmp_path / "run", reporter=Impatient(7))
    assert written(tmp_path / "run", "loss/total")
    record = tune(config, tmp_path / "run", resume=True)
    for name, expected in of_history(record).items():
        steps, values = zip(*written(tmp_path / "run", name), strict=True)
        assert steps == (1, 2, 3)
        assert values == pytest.approx(expected), name


def test_it_changes_nothing_else(config: RunConfig, tmp_path: Path) -> None:
    plain = config.model_copy(update={"runtime": config.runtime.model_copy(update={"tensorboard": False})})
    records = [tune(one, tmp_path / name) for one, name in ((config, "with"), (plain, "without"))]
    assert records[0].result_hash == records[1].result_hash
    assert [epoch.losses for epoch in records[0].history] == [epoch.losses for epoch in records[1].history]
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_without_tensorboard_it_is_refused_before_work_starts(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlprompt.training.tensorboard.find_spec", lambda name: None)
    with pytest.raises(VLPromptError, match=r"runtime.tensorboard=true needs TensorBoard; pip install tensorboard"):
        tune(config, tmp_path / "run")
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
