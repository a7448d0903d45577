import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlprompt.runs.record import TEMPERATURE_LIMIT
from vlprompt.training.calibration import calibrate, expected_error


def drawn(count: int, temperature: float, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits, and labels drawn from their probabilities at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 5, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
    return logits, labels


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


def test_prior_limits_confidence_on_few_correct_images() -> None:
    few = calibrate(torch.eye(4), torch.arange(4))
    assert 0.5 < few.temperature < 0.8
    many = calibrate(torch.eye(4).repeat(1000, 1), torch.arange(4).repeat(1000))
    assert 1 / TEMPERATURE_LIMIT <= many.temperature < 0.2


def test_expected_error_is_the_confidence_gap() -> None:
    probabilities = torch.tensor([[0.8, 0.2]] * 10)
    assert expected_error(probabilities, torch.tensor([0] * 5 + [1] * 5)) == pytest.approx(30, abs=1e-4)
