"""ProGrad: Prompt-aligned Gradient (Zhu et al., ICCV 2023, arXiv 2205.14865)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction, SupportsBackward
from vlprompt.methods.init import initial_context
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, TextPrompts


class ProGradOptions(Options):
    """Options of ProGrad, with the defaults of its paper; `template` defines the zero-shot prediction."""

    n_ctx: int = Field(
        16, ge=1, description="Number of context vectors, n; at least the number of tokens of `ctx_init`."
    )
    ctx_init: str | None = Field(
        None, description="Words whose embeddings initialize the context, after zeros. None: N(0, 0.02^2)."
    )
    class_specific: bool = Field(False, description="Whether to learn one context per class instead of a shared one.")
    temperature: float = Field(1.0, gt=0, description="Temperature of the divergence from the zero-shot prediction, T.")
    strength: float = Field(
        1.0, ge=0, description="Share of the conflicting gradient that is removed; lambda in the paper."
    )


@METHODS.register("prograd")
class ProGrad(Method[ProGradOptions]):
    """Context vectors that are updated only in directions that agree with the zero-shot prediction.

    g is the gradient of the cross-entropy, k that of the divergence from the zero-shot prediction. If <g, k> < 0,
    `strength` times the part of g along k is removed. `total` is the cross-entropy.

    Parameters: `text_context` (n, d_t), or (C, n, d_t) with `class_specific`.
    """

    Options = ProGradOptions

    @property
    def class_bound(self) -> bool:
        """Whether there is one context per class."""
        return self.options.class_specific

    @property
    def encoded_templates(self) -> list[str]:
        """Always `templates`, which define the zero-shot prediction."""
        return self.templates

    def build(self) -> None:
        """Create the context."""
        contexts = torch.stack([self._start() for _ in self.class_names])
        self.text_context = nn.Parameter(contexts if self.options.class_specific else contexts[0])

    def _start(self) -> Tensor:
        context = initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init)
        return F.pad(context, (0, 0, max(0, self.options.n_ctx - len(context)), 0))

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the context, shared or per class; the image tower stays frozen."""
        per: Literal["class", "shared"] = "class" if self.options.class_specific else "shared"
        return Adapters(text=TextPrompts(self.text_context, per))

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Return the prediction, with `zero_shot_logits` (B, C) among the extras."""
        extras["zero_shot_logits"] = super().classify(image_features, self.template_features).logits
        return super().classify(image_features, text_features, **extras)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the cross-entropy, which is also `total`, and `kl`, whose gradient is the zero-shot direction."""
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        temperature = self.options.temperature
        teacher = (prediction.extras["zero_shot_logits"] / temperature).softmax(-1)
        # Up to the teacher's entropy, which has no gradient, the divergence is this cross-entropy.
        kl = temperature**2 * F.cross_entropy(prediction.logits / temperature, teacher)
        return LossTerms(total=cross_entropy, cross_entropy=cross_entropy, kl=kl)

    def backward(self, terms: LossTerms, fabric: SupportsBackward | None = None) -> None:
        """Compute the projected gradient of each parameter tensor separately.

        Under fp16 both gradients carry the same loss scale S. The projection of S g along S k is S times that of g
        along k, so that the scaler's division gives the same as unscaled gradients.
        """
        knowledge = self._gradients(terms["kl"], fabric, keep=True)
        learned = self._gradients(terms["cross_entropy"], fabric)
        for parameter, g, k in zip(self.parameters(), learned, knowledge, strict=True):
            parameter.grad = projected(g, k, self.options.strength)

    def _gradients(self, loss: Tensor, fabric: SupportsBackward | None, *, keep: bool = False) -> list[Tensor]:
        """Return the gradients of a loss, reduced across devices; `keep` retains the graph for another pass."""
        self.zero_grad()
        if fabric is None:
            loss.backward(retain_graph=keep)
        else:
            fabric.backward(loss, retain_graph=keep)
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        if fabric is None:
            return gradients
        # DDP reduces only in the first pass over a graph; reducing equal gradients again changes nothing.
        return [fabric.all_reduce(gradient, reduce_op="mean") for gradient in gradients]


def projected(g: Tensor, k: Tensor, strength: float) -> Tensor:
    """Return g, without `strength` times its part along k if the two conflict.

    There is no branch, so an overflow in k makes the result non-finite and the fp16 scaler skips the step.
    """
    dot = (g * k).sum()
    conflict = torch.where(dot < 0, dot / k.square().sum(), 0.0)
    return g - strength * conflict * k
