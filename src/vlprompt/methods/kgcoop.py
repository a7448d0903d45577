"""KgCoOp: Knowledge-guided Context Optimization (Yao, Zhang & Xu, CVPR 2023, arXiv 2303.13283)."""

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
from vlprompt.methods.init import initial_context
from vlprompt.methods.options import ContextOptions
from vlprompt.prompts import Adapters, TextPrompts


class KgCoOpOptions(ContextOptions):
    """Options of KgCoOp, with the defaults of its paper. `template` regularizes the context."""

    weight: float = Field(8.0, ge=0, description="Weight of the distance to the hand-crafted text features.")


@METHODS.register("kgcoop")
class KgCoOp(Method[KgCoOpOptions]):
    """Context vectors whose text features are kept close to those of the hand-crafted template.

    The loss is cross-entropy + weight * knowledge, the mean over classes of 1 - cos(t_c, h_c).

    Parameters: `text_context` (n, d_t).
    """

    Options = KgCoOpOptions

    @property
    def encoded_templates(self) -> list[str]:
        """Always `templates`, whose features are used in the loss."""
        return self.templates

    def build(self) -> None:
        """Create the context."""
        self.text_context = nn.Parameter(initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init))

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the context, shared by all classes; the image tower stays frozen."""
        return Adapters(text=TextPrompts(self.text_context))

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Return the prediction, with `hand_crafted_text_features` (C, D) among the extras."""
        extras["hand_crafted_text_features"] = self.template_features
        return super().classify(image_features, text_features, **extras)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the cross-entropy and `knowledge`, the distance of the text features to the hand-crafted ones."""
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        cosines = (prediction.text_features * prediction.extras["hand_crafted_text_features"]).sum(-1)
        knowledge = 1 - cosines.mean()
        return LossTerms(
            total=cross_entropy + self.options.weight * knowledge, cross_entropy=cross_entropy, knowledge=knowledge
        )
