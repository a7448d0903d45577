"""Helpers for `Method.prepare`: frozen features of the shots, and a score to select hyper-parameters."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlprompt.backbones.backbone import Backbone

# Items (image (3, S, S) or frozen feature (D,), label, ...).
LabeledImages = Dataset[Any]


@torch.no_grad()
def frozen_features(backbone: Backbone, images: LabeledImages) -> tuple[Tensor, Tensor]:
    """Return unit frozen features (N, D) and labels (N,) of a dataset of images or frozen features."""
    features, labels = [], []
    for batch in DataLoader(images, batch_size=64):
        values = batch[0].to(backbone.device)
        raw = values if values.ndim == 2 else backbone.vision(values)
        features.append(F.normalize(raw.float(), dim=-1))
        labels.append(torch.as_tensor(batch[1]))
    return torch.cat(features), torch.cat(labels).to(backbone.device)


def validation_score(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the score for selecting hyper-parameters: number of correct predictions, then mean log-likelihood.

    Args:
        logits: tensor with shape (V, C) for V validation images.
        labels: tensor with shape (V,).
    """
    correct = (logits.argmax(-1) == labels).sum().item()
    return correct, -F.cross_entropy(logits, labels).item()
