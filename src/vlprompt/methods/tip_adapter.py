"""Tip-Adapter: a cache of the shots added to the zero-shot classifier (Zhang et al., ECCV 2022, arXiv 2207.09519)."""

import torch
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method, Prediction
from vlprompt.methods.options import Options
from vlprompt.methods.shots import LabeledImages, frozen_features, validation_score
from vlprompt.prompts import Adapters

ALPHA, BETA = 1.0, 5.5
GRID = torch.logspace(-1, 1.7, 28).tolist()  # 0.1 to 50, the range of the released settings


@METHODS.register("tip-adapter")
class TipAdapter(Method[Options]):
    """Zero-shot logits plus the similarity of the image to the shots of each class; nothing is trained.

    logits = s x · h_c + alpha * sum over the shots k of class c of exp(-beta (1 - x · k)), with x, k and h_c unit
    frozen features. alpha and beta are selected on the few-shot validation images; without them they are the
    paper's initial values. The released code averages the keys over ten random crops; here they use the test transform,
    so they are the same in every run.

    Buffers: `keys` (N, D) of the N shots and `labels` (N,), both empty before `prepare`; `alpha`, `beta`.
    """

    keys: Tensor
    labels: Tensor
    alpha: Tensor
    beta: Tensor

    @property
    def class_bound(self) -> bool:
        """Always True: the cache holds images of the training classes."""
        return True

    def build(self) -> None:
        """Create an empty cache, which leaves the zero-shot logits unchanged."""
        self.register_buffer("keys", torch.zeros(0, self.backbone.embed_dim))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.long))
        self.register_buffer("alpha", torch.tensor(ALPHA))
        self.register_buffer("beta", torch.tensor(BETA))
        self._validation: tuple[Tensor, Tensor] | None = None

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return no adapters: both towers are frozen."""
        return Adapters()

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Return the prediction with the cache's logits added to the zero-shot ones."""
        prediction = super().classify(image_features, text_features, **extras)
        alpha, beta = self._balance()
        prediction.logits = prediction.logits + alpha * self._cached_logits(image_features, beta)
        return prediction

    def prepare(self, train_set: LabeledImages, val_set: LabeledImages | None) -> None:
        """Fill the cache with the shots, and select alpha and beta."""
        self._fill(*frozen_features(self.backbone, train_set))
        self._validation = None if val_set is None else frozen_features(self.backbone, val_set)
        self._choose()

    def load_prompts(self, state: dict[str, Tensor]) -> None:
        """Load a cache of any size, or raise ValueError if it does not match the backbone and classes."""
        keys, labels = state.get("keys", self.keys), state.get("labels", self.labels)
        known = (labels >= 0) & (labels < len(self.class_names))
        if keys.ndim != 2 or keys.shape[1] != self.keys.shape[1] or not known.all():
            raise ValueError("the cache belongs to other classes or another backbone")
        # A cache of the same size keeps its tensors, which an optimizer may reference.
        if keys.shape != self.keys.shape:
            self._fill(torch.empty_like(keys, device=self.backbone.device), self.labels.new_empty(len(keys)))
        super().load_prompts(state)

    def _fill(self, keys: Tensor, labels: Tensor) -> None:
        self.keys, self.labels = keys, labels

    def _balance(self) -> tuple[Tensor | float, Tensor | float]:
        return self.alpha, self.beta

    def _cached_logits(self, features: Tensor, beta: Tensor | float) -> Tensor:
        """Return the sum of affinities (B, C) to the shots of each class, for unit features (B, D)."""
        affinity = (-beta * (1 - features @ self.keys.T)).exp()  # (B, N)
        return affinity.new_zeros(features.shape[0], len(self.class_names)).index_add(1, self.labels, affinity)

    @torch.no_grad()
    def _choose(self) -> None:
        """Set alpha and beta to the best pair in the grid on the validation images."""
        if self._validation is None:
            return
        features, labels = self._validation
        zero_shot = super().classify(features, self.template_features).logits
        found = []
        for beta in GRID:
            cached = self._cached_logits(features, beta)
            found += [(validation_score(zero_shot + alpha * cached, labels), alpha, beta) for alpha in GRID]
        _, alpha, beta = max(found)
        self.alpha.fill_(alpha)
        self.beta.fill_(beta)


@METHODS.register("tip-adapter-f")
class TipAdapterF(TipAdapter):
    """Tip-Adapter with learned keys, initialized with the shots' features; the loss is the cross-entropy.

    The keys are trained with the paper's initial values of alpha and beta; after every epoch both are selected again
    for eval mode. (The released code keeps the epoch that is best on the test images; here the last one is used, as for
    every method.)

    Parameters: `keys` (N, D). Buffers: `labels` (N,), `alpha`, `beta`.
    """

    def build(self) -> None:
        """Create an empty cache with learned keys."""
        super().build()
        self.keys = nn.Parameter(self.keys)

    def on_epoch_end(self, epoch: int) -> None:
        """Select alpha and beta for the current keys."""
        self._choose()

    def _fill(self, keys: Tensor, labels: Tensor) -> None:
        super()._fill(nn.Parameter(keys), labels)

    def _balance(self) -> tuple[Tensor | float, Tensor | float]:
        return (ALPHA, BETA) if self.training else super()._balance()
