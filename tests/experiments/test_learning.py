"""What a run says about its training: steps, and the shots' loss and accuracy next to zero-shot and guessing."""

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlprompt
from tests.helpers.reporters import Written
from vlprompt.config.resolve import resolve_config
from vlprompt.config.schema import RunConfig
from vlprompt.data.loading import load_dataset
from vlprompt.experiments.grid import Grid
from vlprompt.experiments.run import run_experiment
from vlprompt.results.cells import as_text
from vlprompt.results.collect import find_runs
from vlprompt.results.tables import make_tables
from vlprompt.runs.record import Learning, RunRecord


@pytest.fixture
def run(weights: Path, pictures: Path, tmp_path: Path) -> Any:
    def tuned(method: str = "coop", *, name: str = "run", protocol: str = "few-shot", **settings: Any) -> RunRecord:
        values = {"data.views": 2, "optim.batch_size": 4, **{key.replace("__", "."): settings[key] for key in settings}}
        sources = {"backbone.source": str(weights), "data.source": values.pop("data.source", str(pictures))}
        config = resolve_config(method=method, protocol=protocol, settings={**sources, **values})
        return run_experiment(config, tmp_path / name)

    return tuned


def learning(**changes: float) -> Learning:
    values = {"loss": 0.5, "accuracy": 90.0, "zero_shot_loss": 1.0, "zero_shot_accuracy": 60.0, **changes}
    return Learning(steps=100, images=16, classes=7, **values)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"zero_shot_loss": 2.5, "loss": 1.9}, None),
        ({"zero_shot_loss": 2.5, "loss": 1.95}, "guessing"),
        ({"zero_shot_loss": 2.5, "loss": 1.94, "accuracy": 14.0}, "guessing"),
        ({"loss": 1.0, "accuracy": 60.0}, "zero-shot"),
        ({"loss": 1.2, "accuracy": 50.0}, "zero-shot"),
        ({"loss": 1.2, "accuracy": 61.0}, None),
        ({"loss": 0.9, "accuracy": 50.0}, None),
    ],
)
def test_problem_of_a_training(changes: dict[str, float], problem: str | None) -> None:
    found = learning(**changes).problem
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_learning_is_measured_on_the_shots(run: Any, pictures: Path, tmp_path: Path) -> None:
    record = run(data__shots=4, optim__epochs=20, optim__lr=0.1)
    found = record.learning
    assert (found.steps, found.images, found.classes) == (20 * 4, 16, 4)
    assert found.guessing == pytest.approx(math.log(4))
    classifier = vlprompt.load_classifier(tmp_path / "run")
    shots = load_dataset(str(pictures)).few_shot(4, 1)
    for model, accuracy in ((classifier, found.accuracy), (classifier.zero_shot(), found.zero_shot_accuracy)):
        guesses = model.predict([pictures / item.path for item in shots.train])
        right = [guess.label == shots.class_names[item.label] for guess, item in zip(guesses, shots.train, strict=True)]
        assert accuracy == pytest.approx(100 * sum(right) / len(right), abs=1e-3)
    assert found.loss < found.zero_shot_loss
    assert "80 steps; on the shots loss" in found.summary


@pytest.mark.parametrize("method", ["zero-shot", "linear-probe"])
def test_methods_without_steps_have_no_learning(run: Any, method: str) -> None:
    assert run(method, data__shots=2).learning is None


def test_a_run_that_learned_nothing_warns_and_is_named_in_tables(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = run(data__shots=1, optim__epochs=1, optim__warmup_lr=1e-12)
    assert record.learning.problem is not None
    assert any("seed 1: hardly anything was learned: after 1 steps" in line for line in caplog.messages)
    (table,) = make_tables(find_runs([tmp_path / "run"])[0])
    assert list(table.unlearned.values()) == [1]
    assert any("1 run hardly learned anything" in line for line in as_text(table).legend)


def test_a_run_that_learned_is_quiet(run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run("tip-adapter-f", data__shots=4, optim__epochs=5)
    assert not caplog.messages
    assert not make_tables(find_runs([tmp_path / "run"])[0])[0].unlearned


def test_diverged_training_is_said(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert run(data__shots=2, optim__epochs=3, optim__lr=1e18).learning is None
    assert any("training diverged" in line and "lower optim.lr" in line for line in caplog.messages)


def test_recipes_for_many_classes_count_steps(run: Any, pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    settings = {"data__targets": [str(other)], "data__shots": 1, "optim__min_steps": 130}
    record = run("kgcoop", protocol="cross-dataset", **settings)
    assert record.config.optim.epochs == 130  # of one step each, where the recipe has 100 epochs
    assert (len(record.history), record.learning.steps) == (130, 130)
    del settings["optim__min_steps"]
    asked = run("kgcoop", name="asked", protocol="cross-dataset", optim__epochs=3, **settings)
    assert (asked.config.optim.epochs, asked.config.optim.min_steps) == (3, 0)


def test_min_steps_adds_epochs_only_where_they_are_too_few() -> None:
    common = {"backbone": {"source": "embedded"}, "method": {"name": "coop"}, "data": {"source": "x"}}
    config = RunConfig(**common, optim={"epochs": 50, "min_steps": 1000})
    assert config.with_min_steps(16_000) is config
    assert config.with_min_steps(112).optim.epochs == 334  # 3 steps an epoch, since a smaller last batch is dropped
    assert config.with_min_steps(7).optim.epochs == 1000
    plain = RunConfig(**common, optim={"epochs": 334})
    assert config.with_min_steps(112).result_hash("w", "s") == plain.result_hash("w", "s")


def test_own_recipes_for_small_data_are_unchanged() -> None:
    for protocol in ("few-shot", "base-to-new"):
        for method in vlprompt.list_methods():
            sources = {"backbone.source": "embedded", "data.source": "x"}
            config = resolve_config(method=method, protocol=protocol, settings=sources)
            assert config.optim.min_steps == 0


def test_both_sides_of_a_comparison_are_calibrated_alike(run: Any, tmp_path: Path, pictures: Path) -> None:
    record = run(data__shots=2, optim__epochs=3)
    assert record.calibration.images == record.zero_shot_calibration.images == record.split.val
    classifier = vlprompt.load_classifier(tmp_path / "run")
    frozen = classifier.zero_shot()
    assert frozen.temperature == record.zero_shot_calibration.temperature
    assert frozen.record.learning is None
    alone = run("zero-shot", name="alone", data__shots=2)
    assert alone.calibration == record.zero_shot_calibration == alone.zero_shot_calibration


def test_without_held_out_images_nothing_is_fitted(run: Any, pictures: Path, tmp_path: Path, caplog: Any) -> None:
    """All training images are drawn, so that none are left to hold out."""
    data = tmp_path / "data"
    split = load_dataset(str(pictures))
    for part, items in (("train", split.train), ("test", split.test)):
        for item in items:
            (data / part / Path(item.path).parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / item.path, data / part / item.path)
    with caplog.at_level(logging.INFO, logger="vlprompt"):
        record = run(data__source=str(data), data__shots=16, optim__epochs=1, name="all")
    assert (record.split.val, record.calibration, record.zero_shot_calibration) == (0, None, None)
    assert any(line.startswith("no held-out images") for line in caplog.messages)
    some = run("linear-probe", data__source=str(data), data__shots=2, name="some")
    assert some.split.val > 0
    assert some.calibration.images == some.split.val


def test_estimate_counts_encoding_once(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    grid: Grid = make(["coop", "kgcoop", "vpt"], seeds=[1])
    coop, kgcoop, vpt = grid.cells
    shots, views, test = coop.features
    assert kgcoop.features == coop.features
    assert vpt.features == [shots]  # it reads images
    assert grid.features.missing == {shots: 4, views: 4, test: coop.plan.split.test}
    grid.rehearse(Written())
    assert list(grid.encoding) == [(coop.dataset, None)]
    pace = grid.encoding[coop.dataset, None]
    assert pace > 0
    alone = sum(grid.paces[cell.method].names for cell in (coop, kgcoop))
    alone += sum(grid.paces[cell.method].test * cell.tested for cell in (coop, kgcoop))
    alone += sum(grid.paces[cell.method].train * cell.work for cell in (coop, kgcoop))
    assert grid.seconds_left([coop, kgcoop]) == pytest.approx(alone + pace * (4 + 4 + coop.plan.split.test))
    assert grid.run(Written()) == {}
    assert all(not count for count in make(["coop"], seeds=[1], out=tmp_path / "again").features.missing.values())


@pytest.mark.slow
def test_estimate_measures_encoding_by_openvino(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    settings = {"optim.epochs": 2, "optim.batch_size": 4, "data.views": 1, "data.view_precision": "int8"}
    grid: Grid = make(["coop"], seeds=[1], settings=settings)
    (coop,) = grid.cells
    _, views, _ = coop.features
    assert [grid.features.precision[name] for name in coop.features] == [None, "int8", None]
    grid.rehearse(Written())
    exact, quantized = (grid.encoding[coop.dataset, precision] for precision in (None, "int8"))
    pace = grid.paces[coop.method]
    alone = pace.names + pace.test * coop.tested + pace.train * coop.work
    others = sum(grid.features.missing[name] for name in coop.features if name != views)
    assert grid.seconds_left() == pytest.approx(alone + exact * others + quantized * grid.features.missing[views])
