"""Tests and intervals match enumeration, brute force and known values."""

import itertools
from math import comb, erfc

import numpy as np
import pytest

from vlprompt.results.statistics import holm, redrawn_means, sign_flip_p


def by_enumeration(differences: np.ndarray) -> float:
    sums = differences.sum(0)
    flips = np.array(list(itertools.product([1, -1], repeat=len(sums))))
    return float(np.mean(np.abs(flips @ sums) >= abs(sums.sum())))


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_sign_flip_is_exact(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    for _ in range(20):
        differences = rng.choice([-1, 0, 1], p=[0.2, 0.3, 0.5], size=(seeds, 9))
        assert sign_flip_p(differences) == pytest.approx(by_enumeration(differences), abs=1e-12)


def test_with_one_seed_it_is_mcnemars_exact_test() -> None:
    only_other, only_first = 11, 3
    differences = np.array([[1] * only_other + [-1] * only_first + [0] * 50])
    tail = sum(comb(14, count) for count in range(only_first + 1)) / 2**14
    assert sign_flip_p(differences) == pytest.approx(2 * tail)


def test_identical_answers_have_p_value_one() -> None:
    assert sign_flip_p(np.zeros((3, 10))) == 1
    assert sign_flip_p(np.array([[1, -1, 1, -1]])) == 1


def test_sign_flip_of_many_images() -> None:
    rng = np.random.default_rng(0)
    differences = rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(3, 50_000))
    sums = differences.sum(0)
    z = abs(sums.sum()) / np.sqrt((sums.astype(float) ** 2).sum())
    normal = erfc(z / np.sqrt(2))
    assert sign_flip_p(differences) == pytest.approx(normal, abs=0.01)
    differences[:, :5000] = 1
    assert sign_flip_p(differences) < 1e-9


def test_p_values_are_calibrated_under_the_null() -> None:
    rng = np.random.default_rng(1)
    found = [sign_flip_p(rng.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=(1, 200))) for _ in range(600)]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.07


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_redrawn_means_match_redrawn_images() -> None:
    rng = np.random.default_rng(0)
    differences = rng.choice([-1, 0, 1], p=[0.1, 0.5, 0.4], size=(2, 30))
    redrawn = redrawn_means(differences, rng)  # (R, 2)
    drawn = rng.integers(30, size=(4000, 30))
    brute = 100 * differences[:, drawn].mean(-1).T
    assert redrawn.mean(0) == pytest.approx(brute.mean(0), abs=1)
    assert redrawn.std(0) == pytest.approx(brute.std(0), rel=0.08)
    assert np.corrcoef(redrawn.T)[0, 1] == pytest.approx(np.corrcoef(brute.T)[0, 1], abs=0.08)
