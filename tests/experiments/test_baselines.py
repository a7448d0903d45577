"""Chance, zero-shot and a linear probe beside the result of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlprompt
from vlprompt.config.resolve import resolve_config
from vlprompt.errors import VLPromptError
from vlprompt.experiments import baselines
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord, read_record


@pytest.fixture
def run(weights: Path, pictures: Path, tmp_path: Path) -> Any:
    def tuned(method: str, protocol: str = "few-shot", *, measured: bool = True, **settings: Any) -> RunRecord:
        given = {"backbone.source": str(weights), "data.source": str(pictures), "data.shots": 2, "data.views": 1}
        given |= {"optim.epochs": 1, "runtime.device": "cpu"} | settings
        config = resolve_config(method=method, protocol=protocol, settings=given)
        out = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        return run_experiment(config, out, baselines=measured)

    return tuned


def accuracies(record: RunRecord) -> dict[str, float]:
    return {test: values["accuracy"] for test, values in record.metrics.items() if isinstance(values, dict)}


@pytest.mark.parametrize("method", ["coop", "dapt"])  # frozen image features, and adapted ones
def test_baselines_are_what_their_own_runs_have(method: str, run: Any, tmp_path: Path) -> None:
    record = run(method)
    assert record.baselines == {
        "linear-probe": accuracies(run("linear-probe", measured=False)),
        "zero-shot": accuracies(run("zero-shot", measured=False)),
        "chance": {"test": 25.0},
    }
    assert record.timings["baselines"] >= 0
    assert read_record(tmp_path / "run-0") == record
    assert record.metrics == run(method, measured=False).metrics, "they change nothing"


def test_a_run_that_is_a_baseline_measures_only_the_others(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(run("linear-probe").baselines) == {"zero-shot", "chance"}
    monkeypatch.setattr(baselines, "_text_features", None)  # a call would fail
    assert set(run("zero-shot").baselines) == {"linear-probe", "chance"}


def test_base_to_new_has_a_probe_on_base_alone(run: Any) -> None:
    record, alone = run("coop", "base-to-new"), run("zero-shot", "base-to-new", measured=False)
    assert record.baselines["zero-shot"] == accuracies(alone)
    assert record.baselines["linear-probe"].keys() == {"base"}
    assert record.baselines["chance"] == {"base": 50.0, "new": 50.0, "open-base": 25.0, "open-new": 25.0}


def test_other_datasets_have_a_probe_if_their_classes_were_learned(run: Any, pictures: Path, tmp_path: Path) -> None:
    some, others = tmp_path / "some", tmp_path / "others"
    for name in ("night", "red_apple", "blue_sky"):
        shutil.copytree(pictures / name, some / name)
    shutil.copytree(some, others)
    (others / "night").rename(others / "deep_night")
    both = {"data.targets": [str(some), str(others)]}
    record, alone = run("coop", "cross-dataset", **both), run("zero-shot", "cross-dataset", measured=False, **both)
    assert record.baselines["zero-shot"] == accuracies(alone)
    assert record.baselines["linear-probe"].keys() == {"source", "some"}
    assert record.baselines["chance"] == {"source": 25.0, "some": 33.3333, "others": 33.3333}
    shifted = {"data.targets": [str(some)]}
    domains = run("coop", "domain-generalization", **shifted)
    probe = run("linear-probe", "domain-generalization", measured=False, **shifted)
    assert domains.baselines["linear-probe"] == accuracies(probe)


def test_no_probe_of_many_shots(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "PROBED_SHOTS", 7)  # four classes have two each
    assert run("coop").baselines.keys() == {"zero-shot", "chance"}


def test_nothing_to_measure_without_test_images(run: Any, pictures: Path, tmp_path: Path) -> None:
    for name in ("night", "red_apple"):
        (tmp_path / "few" / name).mkdir(parents=True)
        for image in sorted((pictures / name).iterdir())[:1]:
            shutil.copy(image, tmp_path / "few" / name)
    record = run("coop", **{"data.source": str(tmp_path / "few")})
    assert (record.metrics, record.baselines) == ({}, {})


def test_an_interrupt_leaves_a_run_that_continues(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(baselines, "_accuracy", stop)
        run("coop")
    record = read_record(tmp_path / "run-0")
    assert record.status == "interrupted"
    again = run_experiment(record.config, tmp_path / "run-0", resume=True, baselines=True)
    assert (again.status, again.baselines.keys()) == ("finished", {"linear-probe", "zero-shot", "chance"})


def test_records_without_them_are_read_and_wrong_ones_are_not(run: Any, tmp_path: Path) -> None:
    run("zero-shot")
    file = tmp_path / "run-0" / "run.json"
    content = json.loads(file.read_text())
    for wrong, message in (
        ({"chance": {"elsewhere": 1.0}}, "baselines hold elsewhere, which is none of the run's tests"),
        ({"chance": {"test": 101.0}}, "baselines"),
        ({"luck": {"test": 1.0}}, "baselines"),
    ):
        file.write_text(json.dumps({**content, "baselines": wrong}))
        with pytest.raises(VLPromptError, match=message):
            read_record(file.parent)
    del content["baselines"]
    file.write_text(json.dumps(content))
    assert read_record(file.parent).baselines == {}


def test_tune_in_python_measures_them(weights: Path, pictures: Path) -> None:
    tuned = vlprompt.tune(pictures, method="zero-shot", backbone=weights, shots=2, device="cpu", quiet=True)
    assert tuned.record.baselines.keys() == {"linear-probe", "chance"}
