"""Tip-Adapter with and without learned keys, and complete runs of class-bound methods."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

import vlprompt
from tests.helpers.impatient import Impatient
from tests.helpers.shapes import JOINT, NAMES, uneven
from tests.methods.test_linear_probe import shots
from vlprompt import VLPromptError
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.experiments.run import run_experiment
from vlprompt.methods.shots import validation_score
from vlprompt.methods.tip_adapter import ALPHA, BETA, GRID
from vlprompt.runs.record import read_record

BOTH = pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])


@pytest.fixture
def config(weights: Path, pictures: Path) -> Any:
    def make(name: str, **changes: Any) -> RunConfig:
        values: dict[str, Any] = {
            "method": {"name": name},
            "backbone": {"source": str(weights)},
            "data": {"source": str(pictures), "shots": 4, "views": 3},
            "optim": {"optimizer": "adamw", "epochs": 4, "batch_size": 5, "lr": 0.01},
        }
        return parse_config({**values, **changes})

    return make


@BOTH
def test_logits_match_the_paper(name: str) -> None:
    features, labels = shots(2)
    method = vlprompt.create_method(name, uneven(), NAMES)
    zero_shot = vlprompt.create_method("zero-shot", uneven(), NAMES)
    method.prepare(TensorDataset(features, labels), None)
    assert (method.alpha.item(), method.beta.item()) == (ALPHA, BETA) == (1.0, 5.5)
    new, _ = shots(1, seed=1)
    expected = zero_shot(new).logits
    for i, x in enumerate(new):
        for key, label in zip(features, labels, strict=True):
            expected[i, label] += ALPHA * torch.exp(-BETA * (1 - x @ key))
    torch.testing.assert_close(method(new).logits, expected)


@BOTH
def test_empty_cache_is_zero_shot(name: str) -> None:
    features, labels = shots(2)
    zero_shot = vlprompt.create_method("zero-shot", uneven(), NAMES)
    method = vlprompt.create_method(name, uneven(), NAMES)
    method.on_epoch_end(1)
    torch.testing.assert_close(method(features).logits, zero_shot(features).logits)
    method.prepare(TensorDataset(features[labels != 1], labels[labels != 1]), None)
    torch.testing.assert_close(method(features).logits[:, 1], zero_shot(features).logits[:, 1])


def test_best_pair_of_the_grid_is_selected() -> None:
    features, labels = shots(2, noise=2.5)
    val_features, val_labels = shots(6, seed=1, noise=2.5)
    method = vlprompt.create_method("tip-adapter", uneven(), NAMES)
    method.prepare(TensorDataset(features, labels), TensorDataset(val_features, val_labels))
    chosen = (method.alpha.item(), method.beta.item())
    assert chosen != (ALPHA, BETA)
    best = validation_score(method(val_features).logits, val_labels)
    for alpha in GRID:
        for beta in GRID:
            method.alpha.fill_(alpha)
            method.beta.fill_(beta)
            right, likelihood = validation_score(method(val_features).logits, val_labels)
            assert (right, likelihood - 1e-5) <= best


@BOTH
def test_state_sets_the_cache_size(name: str) -> None:
    features, labels = shots(2)
    tuned = vlprompt.create_method(name, uneven(), NAMES)
    tuned.prepare(TensorDataset(features, labels), TensorDataset(features, labels))
    fresh = vlprompt.create_method(name, uneven(), NAMES)
    fresh.load_prompts(tuned.state_dict())
    assert fresh.keys.shape == (6, JOINT)
    torch.testing.assert_close(fresh.eval()(features).logits, tuned.eval()(features).logits)
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_prompts({"weight": torch.zeros(3)})


def test_keys_are_trainable_in_tip_adapter_f() -> None:
    features, labels = shots(2)
    training_free = vlprompt.create_method("tip-adapter", uneven(), NAMES)
    learned = vlprompt.create_method("tip-adapter-f", uneven(), NAMES)
    for method in (training_free, learned):
        method.prepare(TensorDataset(features, labels), None)
    assert training_free.trainable == 0
    assert learned.trainable == 6 * JOINT
    assert torch.equal(learned.keys, training_free.keys)
    torch.testing.assert_close(training_free.keys, features)


def test_learned_keys_train_with_initial_alpha_and_beta() -> None:
    features, labels = shots(2, noise=2.5)
    val_features, val_labels = shots(6, seed=1, noise=2.5)
    method = vlprompt.create_method("tip-adapter-f", uneven(), NAMES)
    method.prepare(TensorDataset(features, labels), TensorDataset(val_features, val_labels))
    before = method.train()(features).logits
    method.alpha.fill_(20.0)
    torch.testing.assert_close(method(features).logits, before)
    assert not torch.allclose(method.eval()(features).logits, before)
    method.on_epoch_end(1)
    found = validation_score(method(val_features).logits, val_labels)
    method.alpha.fill_(20.0)
    assert found > validation_score(method(val_features).logits, val_labels)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_run_with_learned_keys_resumes_exactly(optimizer: str, config: Any, tmp_path: Path) -> None:
    settings = config("tip-adapter-f", optim={"optimizer": optimizer, "epochs": 4, "batch_size": 5, "lr": 0.1})
    whole = run_experiment(settings, tmp_path / "whole")
    assert whole.trainable_parameters == 4 * 4 * 32
    assert whole.history[-1].losses["total"] < whole.history[0].losses["total"]

    with pytest.raises(KeyboardInterrupt):  # three batches an epoch: in the middle of the third
        run_experiment(settings, tmp_path / "cut", reporter=Impatient(after=8))
    again = run_experiment(settings, tmp_path / "cut", resume=True)
    assert [epoch.losses for epoch in again.history] == [epoch.losses for epoch in whole.history]
    assert again.metrics == whole.metrics
    one, other = ((tmp_path / name / "prompts.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == other


@pytest.mark.parametrize("name", ["linear-probe", "tip-adapter", "tip-adapter-f"])
def test_run_can_be_reloaded(name: str, config: Any, tmp_path: Path, pictures: Path) -> None:
    record = run_experiment(config(name), tmp_path / "run")
    assert record.trainable_parameters == {"linear-probe": 4 * 33, "tip-adapter": 0, "tip-adapter-f": 16 * 32}[name]
    assert len(record.history) == (4 if name == "tip-adapter-f" else 0)
    assert record.metrics["test"]["accuracy"] > 90  # even random weights separate the colors
    assert vlprompt.evaluate(tmp_path / "run", device="cpu")["test"] == record.metrics["test"]
    (guess,) = vlprompt.load_classifier(tmp_path / "run", device="cpu").predict(pictures / "night" / "03.png")
    assert guess.label == "night"
    state = load_file(tmp_path / "run" / "prompts.safetensors")
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("name", ["linear-probe", "tip-adapter", "tip-adapter-f"])
def test_new_classes_are_rejected_before_training(name: str, config: Any, tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=f"'{name}' .*cannot name new classes.*; use few-shot"):
        run_experiment(config(name, protocol="base-to-new"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_record_of_a_run_without_training(config: Any, tmp_path: Path) -> None:
    run_experiment(config("tip-adapter"), tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert (record.status, record.history) == ("finished", [])
    assert set(record.timings) == {"prepare", "encode", "test"}
