"""The linear probe: logistic regression on frozen features (Radford et al., ICML 2021, arXiv 2103.00020)."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.methods.base import METHODS, ImageSet, Method, Options, Prediction, frozen_features
from vlprompt.prompts import TextPrompts, VisualPrompts

CLIP_C = 10**-0.5  # 0.316, which CLIP's own example gives
GRID = [10 ** (half / 2) for half in range(-4, 13)]  # half decades around it; unit features ask for large ones


@METHODS.register("linear-probe")
class LinearProbe(Method[Options]):
    """Logistic regression on the shots' unit frozen features; logits are the probe's, and know no class names.

    C, the inverse strength of its regularization, is the one that does best on the few-shot validation images, and
    CLIP's own where there are none. The fit is scikit-learn's and happens in `prepare`.

    Buffers: `weight` (C, D), `bias` (C,), `inverse_strength`.
    """

    name = "linear-probe"
    weight: Tensor
    bias: Tensor
    inverse_strength: Tensor

    @property
    def class_bound(self) -> bool:
        """The probe has a row for each class it was fitted to, and no use for names."""
        return True

    @property
    def trainable(self) -> int:
        """Number of weights and biases."""
        return self.weight.numel() + self.bias.numel()

    def build(self) -> None:
        """Create a probe that prefers no class."""
        classes = len(self.class_names)
        self.register_buffer("weight", torch.zeros(classes, self.backbone.embed_dim))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("inverse_strength", torch.tensor(CLIP_C))

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """No prompts: both towers frozen."""
        return None, None

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Prediction with the probe's logits; the text features stand beside them unused."""
        return Prediction(F.linear(image_features, self.weight, self.bias), image_features, text_features, extras)

    def prepare(self, train_set: ImageSet, val_set: ImageSet | None) -> None:
        """Fit the probe, once for each C where there are validation images to choose by."""
        features, labels = frozen_features(self.backbone, train_set)
        if val_set is None:
            self._fit(features, labels, CLIP_C)
            return
        val_features, val_labels = frozen_features(self.backbone, val_set)

        def quality(c: float) -> tuple[float, float]:
            self._fit(features, labels, c)
            return validation_quality(F.linear(val_features, self.weight, self.bias), val_labels)

        self._fit(features, labels, max(GRID, key=quality))

    def _fit(self, features: Tensor, labels: Tensor, c: float) -> None:
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        seen = labels.unique()
        weight = torch.zeros_like(self.weight)
        # A class without a shot has probability 0, as in the probe, which does not know of it.
        bias = torch.full_like(self.bias, float("-inf"))
        bias[seen] = 0.0
        if len(seen) > 1:
            with warnings.catch_warnings():
                # With few shots most labels differ, which scikit-learn takes for a sign of regression.
                warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
                probe: Any = LogisticRegression(C=c, max_iter=1000).fit(features.cpu().numpy(), labels.cpu().numpy())
            rows = seen[1:] if len(seen) == 2 else seen  # of two classes scikit-learn describes the second only
            weight[rows] = torch.from_numpy(probe.coef_).to(weight)
            bias[rows] = torch.from_numpy(probe.intercept_).to(bias)
        self.weight, self.bias, self.inverse_strength = weight, bias, torch.full_like(self.inverse_strength, c)


def validation_quality(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """What hyper-parameters are chosen by: the number of right answers and, among equals, the likelihood.

    Args:
        logits: of the validation images, tensor with shape (V, C).
        labels: theirs, tensor with shape (V,).
    """
    right = (logits.argmax(-1) == labels).sum().item()
    return right, -F.cross_entropy(logits, labels).item()
