"""ProGrad: Prompt-aligned Gradient (Zhu et al., ICCV 2023, arXiv 2205.14865)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, LossTerms, Method, Options, Prediction, SupportsBackward
from vlprompt.methods.init import initial_context
from vlprompt.prompts import TextPrompts, VisualPrompts


class ProGradOptions(Options):
    """Options of ProGrad, with the defaults of its paper; `template` gives the zero-shot knowledge."""

    n_ctx: int = Field(16, ge=1, description="n, context vectors; at least as many as `ctx_init` has tokens.")
    ctx_init: str | None = Field(
        None, description="Words whose embeddings end the context at first, behind zeros; None: N(0, 0.02^2)."
    )
    class_specific: bool = Field(False, description="A context for each class instead of one for all.")
    temperature: float = Field(1.0, gt=0, description="T of the divergence from the zero-shot prediction.")
    strength: float = Field(
        1.0, ge=0, description="Share of the conflicting part of the gradient that is taken off; lambda in the paper."
    )


@METHODS.register("prograd")
class ProGrad(Method[ProGradOptions]):
    """A context that is updated only where the zero-shot prediction does not object.

    g is the gradient of cross-entropy and k that of the divergence from the zero-shot prediction. Where <g, k> < 0, the
    part of g along k is taken off, `strength` times. `total` is the cross-entropy.

    Parameters: `text_context` (n, d_t), or (C, n, d_t) with `class_specific`.
    """

    Options = ProGradOptions
    name = "prograd"

    @property
    def class_bound(self) -> bool:
        """A class-specific context belongs to the classes it was learned for."""
        return self.options.class_specific

    @property
    def read_templates(self) -> list[str]:
        """`template`, which gives the zero-shot prediction."""
        return self.options.own_templates

    def build(self) -> None:
        """Create the context."""
        contexts = torch.stack([self._start() for _ in self.class_names])
        self.text_context = nn.Parameter(contexts if self.options.class_specific else contexts[0])

    def _start(self) -> Tensor:
        context = initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init)
        return F.pad(context, (0, 0, max(0, self.options.n_ctx - len(context)), 0))

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """The context, shared or per class; the image tower stays frozen."""
        per: Literal["class", "shared"] = "class" if self.options.class_specific else "shared"
        return TextPrompts(self.text_context, per), None

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Prediction with `zero_shot_logits` (B, C) beside it."""
        extras["zero_shot_logits"] = super().classify(image_features, self.template_features).logits
        return super().classify(image_features, text_features, **extras)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Cross-entropy, which is `total` too, and `kl`, whose gradient says what must not be undone."""
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        temperature = self.options.temperature
        teacher = (prediction.extras["zero_shot_logits"] / temperature).softmax(-1)
        # Up to the entropy of the teacher, which has no gradient, the divergence is this cross-entropy.
        kl = temperature**2 * F.cross_entropy(prediction.logits / temperature, teacher)
        return LossTerms(total=cross_entropy, cross_entropy=cross_entropy, kl=kl)

    def backward(self, terms: LossTerms, fabric: SupportsBackward | None = None) -> None:
        """Leave the projected gradient in `.grad`, parameter tensor by parameter tensor.

        Under fp16 both gradients carry the same loss scale S. The projection of S g along S k is S times that of g
        along k, so the scaler's division afterwards gives what unscaled gradients would have given.
        """
        knowledge = self._gradients(terms["kl"], fabric, keep=True)
        learned = self._gradients(terms["cross_entropy"], fabric)
        for parameter, g, k in zip(self.parameters(), learned, knowledge, strict=True):
            parameter.grad = projected(g, k, self.options.strength)

    def _gradients(self, loss: Tensor, fabric: SupportsBackward | None, *, keep: bool = False) -> list[Tensor]:
        """Gradients of a loss, reduced across devices; `keep` leaves the graph for another pass."""
        self.zero_grad()
        if fabric is None:
            loss.backward(retain_graph=keep)
        else:
            fabric.backward(loss, retain_graph=keep)
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        if fabric is None:
            return gradients
        # DDP reduces in the first pass over a graph only. Where it did, the mean of equal gradients changes nothing.
        return [fabric.all_reduce(gradient, reduce_op="mean") for gradient in gradients]


def projected(g: Tensor, k: Tensor, strength: float) -> Tensor:
    """g where it agrees with k, else g without `strength` times its part along k.

    Written without a branch, so that where k overflowed the result is not finite either and fp16's scaler skips the
    step.
    """
    dot = (g * k).sum()
    conflict = torch.where(dot < 0, dot / k.square().sum(), 0.0)
    return g - strength * conflict * k
