"""Estimators against the known mutual information of correlated Gaussians, and critics."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from vlprompt.methods.mutual_information import CRITICS, ESTIMATORS, dv, infonce, jsd


def pairs(count: int, correlation: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, count, generator=generator, dtype=torch.float64)
    return x, correlation * x + math.sqrt(1 - correlation**2) * noise


def log_ratio(x: Tensor, y: Tensor, correlation: float) -> Tensor:
    """Return log p(x, y) / (p(x) p(y)) of standard Gaussians, the optimal critic for all three estimators."""
    square = correlation**2
    quadratic = (square * (x**2 + y**2) - 2 * correlation * x * y) / (2 * (1 - square))
    return -quadratic - math.log(1 - square) / 2


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("estimator", [infonce, dv])
def test_optimal_critic_gives_the_mutual_information(estimator: Callable[[Tensor], Tensor], correlation: float) -> None:
    x, y = pairs(3000, correlation)
    estimate = estimator(log_ratio(x[:, None], y[None], correlation))
    assert estimate.item() == pytest.approx(-math.log(1 - correlation**2) / 2, abs=0.03)


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_jsd_matches_its_integral(correlation: float) -> None:
    grid = torch.linspace(-8, 8, 801, dtype=torch.float64)
    u, v = grid[:, None], grid[None]
    ratio = log_ratio(u, v, correlation)
    apart = (-(u**2) / 2 - v**2 / 2).exp() / (2 * math.pi)
    together = apart * ratio.exp()
    half = (together + apart) / 2
    divergence = 0.0
    for density in (together, apart):
        positive = density > 1e-200
        divergence += (density * (density / half).log()).where(positive, 0.0).sum().item() / 2
    expected = 2 * divergence * (grid[1] - grid[0]).item() ** 2 - math.log(4)

    x, y = pairs(3000, correlation)
    assert jsd(log_ratio(x[:, None], y[None], correlation)).item() == pytest.approx(expected, abs=0.03)


def test_infonce_is_at_most_log_of_pairs() -> None:
    for count in (2, 7, 50):
        assert infonce(1000 * torch.eye(count)).item() == pytest.approx(math.log(count))
        generator = torch.Generator().manual_seed(count)
        for scale in (1.0, 30.0):
            assert infonce(scale * torch.randn(count, count, generator=generator)) <= math.log(count)
    # The Donsker-Varadhan bound has no such ceiling.
    assert dv(1000 * torch.eye(7)) > math.log(7)


@pytest.mark.parametrize("estimator", ESTIMATORS.values())
def test_estimate_increases_with_contrast(estimator: Callable[[Tensor], Tensor]) -> None:
    values = [estimator(scale * (torch.eye(6) - 0.5)).item() for scale in (0.0, 1.0, 3.0)]
    assert values == sorted(set(values))
    uninformed = {"infonce": 0.0, "dv": 0.0, "jsd": -math.log(4)}
    name = next(name for name, known in ESTIMATORS.items() if known is estimator)
    assert values[0] == pytest.approx(uninformed[name], abs=1e-6)


@pytest.mark.parametrize("critic", CRITICS)
def test_critic_scores_pairs_independently(critic: str) -> None:
    torch.manual_seed(0)
    score = CRITICS[critic](16)
    u, v = torch.nn.functional.normalize(torch.randn(2, 5, 16), dim=-1)
    together = score(u, v[:3])
    assert together.shape == (5, 3)
    for i, j in product(range(5), range(3)):
        torch.testing.assert_close(score(u[i : i + 1], v[j : j + 1])[0, 0], together[i, j])


def test_bilinear_critic_initially_matches_cosine() -> None:
    u, v = torch.nn.functional.normalize(torch.randn(2, 5, 16), dim=-1)
    torch.testing.assert_close(CRITICS["bilinear"](16)(u, v), CRITICS["cosine"](16)(u, v))


@pytest.mark.parametrize(("critic", "estimator"), list(product(CRITICS, ESTIMATORS)))
def test_trained_critic_identifies_pairs(critic: str, estimator: str) -> None:
    torch.manual_seed(0)
    u = torch.nn.functional.normalize(torch.randn(12, 16), dim=-1)
    v = torch.nn.functional.normalize(u + 0.5 * torch.randn(12, 16) / 4, dim=-1)
    score = CRITICS[critic](16)
    optimizer = torch.optim.Adam(score.parameters(), lr=0.02)
    before = ESTIMATORS[estimator](score(u, v)).item()
    for _ in range(40):
        optimizer.zero_grad()
        (-ESTIMATORS[estimator](score(u, v))).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = ESTIMATORS[estimator](score(u, v))
    assert after.item() > before
    assert score(u, v).argmax(1).eq(torch.arange(12)).float().mean() > 0.9
