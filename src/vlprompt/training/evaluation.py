"""Predictions on test images, and metrics computed from them."""

from dataclasses import dataclass
from typing import Any

import polars
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.data.features import FeatureSet
from vlprompt.data.image_set import ImageSet
from vlprompt.methods.base import Method
from vlprompt.training.calibration import expected_error
from vlprompt.utils.machine import reader_count
from vlprompt.utils.progress import Bar


@dataclass(frozen=True)
class Predictions:
    """Predictions for N test images among C classes.

    Attributes:
        probabilities: tensor with shape (N, C).
        labels: tensor with shape (N,).
        paths: paths of the images.
        class_names: names of the classes.
    """

    probabilities: Tensor
    labels: Tensor
    paths: list[str]
    class_names: tuple[str, ...]

    def metrics(self, temperature: float | None = None) -> dict[str, Any]:
        """Compute metrics in percent.

        Args:
            temperature: divisor of the logits for an additional calibration error; None for none.

        Returns:
            top-1 accuracy, mean of per-class accuracies, expected calibration error, the number of images, and the
            accuracy of each class that has test images.
        """
        from torchmetrics.functional.classification import multiclass_accuracy  # takes a second to import

        classes = len(self.class_names)
        top1 = multiclass_accuracy(self.probabilities, self.labels, classes, average="micro")
        per_class = 100 * multiclass_accuracy(self.probabilities, self.labels, classes, average=None)
        # Only over classes with test images: torchmetrics' macro average counts the others as 0% if they are predicted.
        tested = self.labels.unique()
        errors = {"calibration_error": expected_error(self.probabilities, self.labels)}
        if temperature is not None:
            scaled = (self.probabilities.double().log() / temperature).softmax(-1)
            errors["calibrated_error"] = expected_error(scaled, self.labels)
        return {
            "accuracy": round(100 * top1.item(), 4),  # fp32 has no more digits
            "macro_accuracy": round(per_class[tested].mean().item(), 4),
            **{name: round(error, 4) for name, error in errors.items()},
            "images": len(self.labels),
            "class_accuracy": {self.class_names[i]: round(per_class[i].item(), 2) for i in tested.tolist()},
        }

    def table(self, test: str) -> polars.DataFrame:
        """Return a data frame with one row per image: test, path, label, prediction, probability of the true class."""
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
    method: Method[Any], test_set: ImageSet | FeatureSet, *, batch_size: int, workers: int | None, bar: Bar
) -> Tensor:
    """Compute the logits of a test set. Classes are encoded once.

    Args:
        method: method to evaluate; set to eval mode.
        test_set: N items (image or frozen feature, label, index).
        batch_size: images per batch.
        workers: processes that read images, see `reader_count`.
        bar: progress bar.

    Returns:
        tensor with shape (N, C), fp32 on the CPU.
    """
    method.eval()
    readers = 0 if isinstance(test_set, FeatureSet) else reader_count(workers, method.backbone.device.type)
    text_features = method.class_features()
    logits: list[Tensor] = []
    for inputs, _, _ in DataLoader(test_set, batch_size, num_workers=readers):
        logits.append(method(inputs.to(method.backbone.device), text_features).logits.float().cpu())
        bar(sum(map(len, logits)), len(test_set))
    return torch.cat(logits)
