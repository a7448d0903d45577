import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.calibration import best_fit, changes

from vlprompt.runs.record import TEMPERATURE_LIMIT
from vlprompt.training.calibration import calibrate, expected_error


def drawn(count: int, temperature: float, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits, and labels drawn from their probabilities at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 5, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
    return logits, labels


def fitted(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return calibrate(logits, labels).temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_calibrate_recovers_the_true_temperature(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    found = calibrate(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.images == 20_000
    assert found.loss_after <= found.loss_before
    assert found.error_after < 2
    if temperature != 1:
        assert found.error_before > 3 * found.error_after


@given(st.integers(1, 12), st.integers(0, 1_000), st.floats(0.001, 1_000))
@settings(max_examples=50, deadline=None)
def test_calibrate_never_increases_loss_and_respects_bounds(count: int, seed: int, scale: float) -> None:
    logits, labels = drawn(count, 1.0, seed)
    found = calibrate(scale * logits, labels)
    assert 1 / TEMPERATURE_LIMIT <= found.temperature <= TEMPERATURE_LIMIT
    assert math.isfinite(found.loss_after)
    assert found.loss_after <= found.loss_before + 1e-6


def test_few_images_move_the_temperature_less_than_many() -> None:
    few = calibrate(torch.eye(4), torch.arange(4))
    assert 0.5 < few.temperature < 0.8
    many = calibrate(torch.eye(4).repeat(1000, 1), torch.arange(4).repeat(1000))
    assert 1 / TEMPERATURE_LIMIT <= many.temperature < 0.2


def test_temperature_stays_1_without_evidence_for_another() -> None:
    logits, labels = drawn(20, 1.0)
    assert calibrate(logits, labels).temperature == 1
    assert "no evidence for another" in calibrate(logits, labels).summary


@pytest.mark.parametrize("images", [20, 100])
@pytest.mark.parametrize("temperature", [0.5, 0.8, 1.25, 2.0])
def test_expected_calibration_improves_on_average(temperature: float, images: int) -> None:
    found = list(changes(fitted, temperature, images, draws=3))
    assert sum(found) / len(found) < 0
    assert sum(change > 0.5 for change in found) <= 0.1 * len(found)


@pytest.mark.parametrize("images", [20, 100])
def test_calibrated_probabilities_stay_calibrated(images: int) -> None:
    found = list(changes(fitted, 1.0, images, draws=3))
    best = list(changes(best_fit, 1.0, images, draws=3))
    assert sum(change == 0 for change in found) >= 0.85 * len(found)
    assert sum(found) / len(found) < min(0.5, 0.25 * sum(best) / len(best))


def test_expected_error_is_the_confidence_gap() -> None:
    probabilities = torch.tensor([[0.8, 0.2]] * 10)
    assert expected_error(probabilities, torch.tensor([0] * 5 + [1] * 5)) == pytest.approx(30, abs=1e-4)
