"""Temperature scaling of probabilities, fitted on held-out images."""

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from vlprompt.runs.record import TEMPERATURE_LIMIT, Calibration

BINS = 15
# Standard deviation of the prior on log T. Without a prior, a few images that are all correct would give a temperature
# of 0 and certain predictions. It is centered on 1, CLIP's own temperature, and many images outweigh it.
PRIOR_STD = 0.5


def calibrate(logits: Tensor, labels: Tensor) -> Calibration:
    """Fit a temperature to held-out images (Guo et al., ICML 2017, section 4.2), between 1/20 and 20.

    The fit is maximum a posteriori with the prior log T ~ N(0, 0.5^2).

    Args:
        logits: logits of held-out images, tensor with shape (N, C).
        labels: class indices, tensor with shape (N,).

    Returns:
        the temperature, with loss and calibration error before and after.
    """
    logits = logits.double()

    def loss(temperature: float) -> float:
        return cross_entropy(logits / temperature, labels).item()

    def error(temperature: float) -> float:
        return expected_error((logits / temperature).softmax(-1), labels)

    def negative_log_posterior(log: float) -> float:
        return len(labels) * loss(float(np.exp(log))) + log**2 / (2 * PRIOR_STD**2)

    found = minimize_scalar(negative_log_posterior, bounds=(-np.log(TEMPERATURE_LIMIT), np.log(TEMPERATURE_LIMIT)))
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
    """Return the expected calibration error in percent, over 15 bins.

    Args:
        probabilities: class probabilities, tensor with shape (N, C).
        labels: class indices, tensor with shape (N,).
    """
    return 100 * multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=BINS).item()
