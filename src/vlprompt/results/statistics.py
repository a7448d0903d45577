"""Means and spreads over seeds, bootstrap intervals, and the paired sign-flip test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REPLICATES = 2000
LEVEL = 95


@dataclass(frozen=True)
class Sample:
    """Values of a quantity over seeds.

    Attributes:
        values: One value per seed, array with shape (S,).
        replicates: Mean over seeds in every bootstrap replicate, array with shape (R,); None without bootstrap.
    """

    values: Floats
    replicates: Floats | None = None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(self.values.mean())

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None for a single seed."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Middle 95% of the replicates; None without bootstrap."""
        if self.replicates is None:
            return None
        low, high = np.percentile(self.replicates, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
        return float(low), float(high)


def average(samples: Sequence[Sample]) -> Sample:
    """Return the average, seed by seed, of samples whose images were drawn independently."""
    replicates = [sample.replicates for sample in samples if sample.replicates is not None]
    return Sample(
        np.mean([sample.values for sample in samples], axis=0),
        np.mean(replicates, axis=0) if len(replicates) == len(samples) else None,
    )


def seed_weights(seeds: int, rng: np.random.Generator) -> Floats:
    """Draw the share of every seed in every replicate (R, S): seeds are drawn with replacement."""
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=REPLICATES) / seeds


def redrawn_means(values: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Draw the mean in % of every seed in every replicate (R, S): images are drawn with replacement.

    Args:
        values: Integers for N images by seed (S, N): whether a run was right, or the difference between two runs. A
            replicate draws the same images for all seeds.
        rng: Seeded generator.
    """
    # Images with the same values in all seeds are interchangeable: draw counts of a few kinds, not N images.
    kinds, counts = np.unique(values.astype(np.int8), axis=1, return_counts=True)  # (S, K), (K,)
    drawn = rng.multinomial(values.shape[1], counts / values.shape[1], size=REPLICATES)  # (R, K)
    means: Floats = 100 * (drawn @ kinds.T) / values.shape[1]
    return means


def sign_flip_p(differences: NDArray[Any]) -> float:
    """Return the two-sided p-value of the paired sign-flip (permutation) test over images, exact to 1e-12.

    Null hypothesis: on every image the two methods' answers, of all seeds together, are exchangeable, so that the sign
    of the image's difference is a fair coin flip. The test generalizes these tuned prompts to other images of the same
    kind. It does not generalize to other seeds, of which there are too few to permute; the bootstrap interval covers
    both. With one seed it is McNemar's exact test.

    Args:
        differences: 1, 0 or -1 by seed and image (S, N): right answers of one method minus those of the other.
    """
    sums = np.abs(differences.sum(0, dtype=np.int64))
    observed = abs(int(differences.sum(dtype=np.int64)))
    sizes, counts = np.unique(sums[sums > 0], return_counts=True)
    if observed == 0:
        return 1.0
    # The characteristic function of a sum of independent ±k is the product of cos(k angle). Its inverse transform is
    # the distribution of the sum over all 2^N flips.
    most = int(sizes @ counts)
    angles = np.pi * np.arange(most + 2) / (most + 1)
    transform = np.prod([np.cos(size * angles) ** count for size, count in zip(sizes, counts, strict=True)], axis=0)
    chances = np.fft.irfft(transform, n=2 * most + 2)
    return float(np.clip(2 * chances[observed : most + 1].sum(), 1e-12, 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down procedure, in the given order."""
    order = np.argsort(p_values)
    corrected = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(corrected), 1.0)
    return [float(raised[place]) for place in np.argsort(order)]
