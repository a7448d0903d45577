"""The linear probe: logistic regression on frozen features (Radford et al., ICML 2021, arXiv 2103.00020)."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.methods.base import METHODS, Method, Prediction
from vlprompt.methods.options import Options
from vlprompt.methods.shots import LabeledImages, frozen_features, validation_score
from vlprompt.prompts import Adapters

CLIP_C = 10**-0.5  # 0.316, as in the example of CLIP's repository
GRID = [10 ** (half / 2) for half in range(-4, 13)]  # half decades; unit features need large values


@METHODS.register("linear-probe")
class LinearProbe(Method[Options]):
    """Logistic regression on the shots' unit frozen features, independent of class names.

    C, the inverse regularization strength, is selected on the few-shot validation images; without them it is CLIP's.
    scikit-learn fits the probe in `prepare`.

    Buffers: `weight` (C, D), `bias` (C,), `inverse_strength`.
    """

    weight: Tensor
    bias: Tensor
    inverse_strength: Tensor

    @property
    def class_bound(self) -> bool:
        """Always True: the probe has one row per training class."""
        return True

    @property
    def trainable(self) -> int:
        """Number of weights and biases."""
        return self.weight.numel() + self.bias.numel()

    def build(self) -> None:
        """Create a probe of zeros, which predicts the same logit for every class."""
        classes = len(self.class_names)
        self.register_buffer("weight", torch.zeros(classes, self.backbone.embed_dim))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("inverse_strength", torch.tensor(CLIP_C))

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return no adapters: both towers are frozen."""
        return Adapters()

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Return the prediction with the probe's logits; text features are not used."""
        return Prediction(F.linear(image_features, self.weight, self.bias), image_features, text_features, extras)

    def prepare(self, train_set: LabeledImages, val_set: LabeledImages | None) -> None:
        """Fit the probe; with validation images, once per C."""
        features, labels = frozen_features(self.backbone, train_set)
        if val_set is None:
            self._fit(features, labels, CLIP_C)
            return
        val_features, val_labels = frozen_features(self.backbone, val_set)

        def score(c: float) -> tuple[float, float]:
            self._fit(features, labels, c)
            return validation_score(F.linear(val_features, self.weight, self.bias), val_labels)

        self._fit(features, labels, max(GRID, key=score))

    def _fit(self, features: Tensor, labels: Tensor, c: float) -> None:
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        seen = labels.unique()
        weight = torch.zeros_like(self.weight)
        # A class without shots has probability 0.
        bias = torch.full_like(self.bias, float("-inf"))
        bias[seen] = 0.0
        if len(seen) > 1:
            with warnings.catch_warnings():
                # scikit-learn warns that labels look like regression targets if most of them differ.
                warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
                probe: Any = LogisticRegression(C=c, max_iter=1000).fit(features.cpu().numpy(), labels.cpu().numpy())
            rows = (
                seen[1:] if len(seen) == 2 else seen
            )  # for two classes, scikit-learn has one row, for the second class
            weight[rows] = torch.from_numpy(probe.coef_).to(weight)
            bias[rows] = torch.from_numpy(probe.intercept_).to(bias)
        self.weight, self.bias, self.inverse_strength = weight, bias, torch.full_like(self.inverse_strength, c)
