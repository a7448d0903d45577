"""Numbers that stand for many."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """Median of some numbers, and what 5% of them are below (`low`) and above (`high`)."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Spread":
        """That of a tensor (N,)."""
        low, median, high = values.float().cpu().quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
        return cls(low, median, high)


@dataclass(frozen=True)
class Change:
    """A number of the frozen model with the hand-crafted template, and of the tuned one; None where it has none."""

    before: float
    after: float | None
