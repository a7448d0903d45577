"""Probabilities that can be believed: one temperature, fitted on held-out shots."""

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from vlprompt.runs.record import TEMPERATURE_LIMIT, Calibration

BINS = 15
# A few images can be separated so well that the likeliest temperature is 0, and everything would be certain. That CLIP
# was trained at temperature 1 is evidence, too: a prior on log T, which N images move as far as they know better.
PRIOR_STD = 0.5


def calibrate(logits: Tensor, labels: Tensor) -> Calibration:
    """The temperature that the labels ask for (Guo et al., ICML 2017, section 4.2), between 1/20 and 20.

    It is the likeliest one under a prior that log T is near 0, N(0, 0.5^2): six images that are all right say less
    of it than six hundred.

    Args:
        logits: of images that nothing was learned from, (N, C).
        labels: (N,).
    """
    logits = logits.double()

    def loss(temperature: float) -> float:
        return cross_entropy(logits / temperature, labels).item()

    def error(temperature: float) -> float:
        return expected_error((logits / temperature).softmax(-1), labels)

    def surprise(log: float) -> float:
        return len(labels) * loss(float(np.exp(log))) + log**2 / (2 * PRIOR_STD**2)

    found = minimize_scalar(surprise, bounds=(-np.log(TEMPERATURE_LIMIT), np.log(TEMPERATURE_LIMIT)))
    temperature = float(np.exp(found.x))
    return Calibration(
        temperature=temperature,
        images=len(labels),
        loss_before=loss(1.0),
        loss_after=loss(temperature),
        error_before=error(1.0),
        error_after=error(temperature),
    )


def expected_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error in percent, over 15 bins, of probabilities (N, C) for labels (N,)."""
    return 100 * multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=BINS).item()
