"""Predictions on a test set, and the metrics that are computed from them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_accuracy

from vlprompt.data.features import FeatureSet
from vlprompt.data.image_set import ImageSet
from vlprompt.methods.base import Method
from vlprompt.training.calibration import expected_error
from vlprompt.utils.progress import Bar


@dataclass(frozen=True)
class Predictions:
    """Probabilities (N, C) of N test images among C classes, their labels (N,), their paths, and the classes' names."""

    probabilities: Tensor
    labels: Tensor
    paths: list[str]
    class_names: tuple[str, ...]

    def metrics(self, temperature: float | None = None) -> dict[str, Any]:
        """Top-1 accuracy, mean of per-class accuracies and expected calibration error, in percent; N; and accuracies
        of the classes that have test images, by name (and label, where ImageNet has two classes of one name).

        With a temperature, also the calibration error once logits are divided by it.
        """
        classes = len(self.class_names)
        top1 = multiclass_accuracy(self.probabilities, self.labels, classes, average="micro")
        per_class = 100 * multiclass_accuracy(self.probabilities, self.labels, classes, average=None)
        # A class may compete without images of its own; torchmetrics' own mean would count a wrong guess of it as 0%.
        tested = self.labels.unique()
        called = Counter(self.class_names)
        names = [name if called[name] == 1 else f"{name} ({label})" for label, name in enumerate(self.class_names)]
        errors = {"calibration_error": expected_error(self.probabilities, self.labels)}
        if temperature is not None:
            scaled = (self.probabilities.double().log() / temperature).softmax(-1)
            errors["calibrated_error"] = expected_error(scaled, self.labels)
        return {
            "accuracy": round(100 * top1.item(), 4),  # single precision knows no more
            "macro_accuracy": round(per_class[tested].mean().item(), 4),
            **{name: round(error, 4) for name, error in errors.items()},
            "images": len(self.labels),
            "class_accuracy": {names[i]: round(per_class[i].item(), 2) for i in tested.tolist()},
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
def predict_logits(
    method: Method[Any], test_set: ImageSet | FeatureSet, *, batch_size: int, workers: int, bar: Bar
) -> Tensor:
    """Logits (N, C), fp32 on the CPU, of N items (image or frozen feature, label, index); classes are encoded once."""
    method.eval()
    text_features = method.class_features()
    logits: list[Tensor] = []
    for inputs, _, _ in DataLoader(test_set, batch_size, num_workers=workers):
        logits.append(method(inputs.to(method.backbone.device), text_features).logits.float().cpu())
        bar(sum(map(len, logits)), len(test_set))
    return torch.cat(logits)
