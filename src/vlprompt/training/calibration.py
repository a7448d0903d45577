"""Temperature scaling of probabilities, fitted on held-out images."""

from statistics import NormalDist

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlprompt.runs.record import TEMPERATURE_LIMIT, Calibration

BINS = 15
# Temperatures whose log-likelihood is at most this much below the maximum are not ruled out: the likelihood-ratio
# interval of 95% confidence.
EVIDENCE = NormalDist().inv_cdf(0.975) ** 2 / 2  # 1.92, half the quantile of chi-squared with one degree of freedom


def calibrate(logits: Tensor, labels: Tensor) -> Calibration:
    """Fit a temperature to held-out images, as far from 1 as they are evidence for, between 1/20 and 20.

    The temperature that fits best (Guo et al., ICML 2017, section 4.2) follows the chance of a few images, and can make
    probabilities worse on others. This one is the closest to 1 in the 95% confidence interval of the best one, which
    narrows as images are added. It stays 1 where the interval includes 1.

    Args:
        logits: logits of held-out images, tensor with shape (N, C).
        labels: class indices, tensor with shape (N,).

    Returns:
        the temperature, with loss and calibration error before and after.
    """
    from scipy.optimize import brentq, minimize_scalar  # takes half a second to import

    logits = logits.double()

    def loss(temperature: float) -> float:
        return cross_entropy(logits / temperature, labels).item()

    def error(temperature: float) -> float:
        return expected_error((logits / temperature).softmax(-1), labels)

    def total(log: float) -> float:
        return len(labels) * loss(float(np.exp(log)))

    limit = float(np.log(TEMPERATURE_LIMIT))
    best = minimize_scalar(total, bounds=(-limit, limit))
    ruled_out = best.fun + EVIDENCE
    log = float(brentq(lambda at: total(at) - ruled_out, 0.0, best.x)) if total(0.0) > ruled_out else 0.0
    temperature = float(np.exp(log))
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
    from torchmetrics.functional.classification import multiclass_calibration_error  # takes a second to import

    return 100 * multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=BINS).item()
