"""Predictions on a test set, and the metrics that are computed from them."""

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import polars
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from vlprompt.data import FeatureSet, ImageSet
from vlprompt.methods import Method
from vlprompt.progress import Bar

BINS = 15


@dataclass(frozen=True)
class Predictions:
    """Probabilities (N, C) of N test images, their labels (N,) and their paths."""

    probabilities: Tensor
    labels: Tensor
    paths: list[str]

    def metrics(self) -> dict[str, float | int]:
        """Top-1 accuracy, mean of per-class accuracies and expected calibration error, in percent; and N."""
        classes = self.probabilities.shape[1]
        top1 = multiclass_accuracy(self.probabilities, self.labels, classes, average="micro")
        macro = multiclass_accuracy(self.probabilities, self.labels, classes, average="macro")
        calibration = multiclass_calibration_error(self.probabilities, self.labels, classes, n_bins=BINS)
        return {
            "accuracy": 100 * top1.item(),
            "macro_accuracy": 100 * macro.item(),
            "calibration_error": 100 * calibration.item(),
            "images": len(self.labels),
        }

    def table(self, test: str) -> polars.DataFrame:
        """One row an image: test, path, label, prediction, probability of the true class."""
        true = self.probabilities.gather(1, self.labels[:, None])[:, 0]
        columns = {
            "test": [test] * len(self.labels),
            "path": self.paths,
            "label": self.labels.numpy(),
            "prediction": self.probabilities.argmax(1).numpy(),
            "probability": true.numpy(),
        }
        return polars.DataFrame(columns)


@torch.no_grad()
def predict_set(
    method: Method[Any], test_set: ImageSet | FeatureSet, paths: list[str], *, batch_size: int, workers: int, bar: Bar
) -> Predictions:
    """Probabilities for every item (image or frozen feature, label, index) of a set, classes encoded once."""
    method.eval()
    text_features = method.class_features()
    probabilities, labels = [], []
    for inputs, targets, _ in DataLoader(test_set, batch_size, num_workers=workers):
        prediction = method(inputs.to(method.backbone.device), text_features)
        probabilities.append(prediction.logits.float().softmax(-1).cpu())
        labels.append(targets)
        bar(sum(map(len, labels)), len(paths))
    return Predictions(torch.cat(probabilities), torch.cat(labels), paths)


@overload
def harmonic_mean(base: float, new: float) -> float: ...
@overload
def harmonic_mean(base: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]: ...
def harmonic_mean(base: Any, new: Any) -> Any:
    """Harmonic mean of base and new accuracy, numbers or arrays of one shape; 0 where one of them is 0."""
    product, total = np.multiply(base, new), np.add(base, new)
    mean = np.where(product == 0, 0.0, 2 * product / np.where(product == 0, 1.0, total))
    return mean if mean.ndim else float(mean)
