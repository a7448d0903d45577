"""Means over seeds with their spread, and intervals by bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REPLICATES = 2000
LEVEL = 95


@dataclass(frozen=True)
class Sample:
    """A quantity of several seeds.

    Attributes:
        values: one of each seed (S,).
        replicates: its mean in every bootstrap replicate (R,), or None where there is no bootstrap.
    """

    values: Floats
    replicates: Floats | None = None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.values.mean())

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None where there is one seed."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The middle 95% of the replicates."""
        if self.replicates is None:
            return None
        low, high = np.percentile(self.replicates, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
        return float(low), float(high)


def average(samples: Sequence[Sample]) -> Sample:
    """Seed by seed, of samples whose images were drawn independently."""
    replicates = [sample.replicates for sample in samples if sample.replicates is not None]
    return Sample(
        np.mean([sample.values for sample in samples], axis=0),
        np.mean(replicates, axis=0) if len(replicates) == len(samples) else None,
    )


def seed_weights(seeds: int, rng: np.random.Generator) -> Floats:
    """Share of every seed in every replicate (R, S), as seeds are drawn with replacement."""
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=REPLICATES) / seeds


def redrawn_accuracies(right: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Accuracy in % of every seed in every replicate (R, S), as images are drawn with replacement.

    Args:
        right: which of N images each seed's run got right (S, N). A replicate draws the same images for all seeds.
        rng: seeded.
    """
    # Images that the same seeds got right are alike, so that N images are drawn as at most 2^S kinds of them.
    kinds, counts = np.unique(right, axis=1, return_counts=True)  # (S, K), (K,)
    drawn = rng.multinomial(right.shape[1], counts / right.shape[1], size=REPLICATES)  # (R, K)
    accuracies: Floats = 100 * (drawn @ kinds.T) / right.shape[1]
    return accuracies
