"""MuDPT: Multi-modal Deep-symphysis Prompt Tuning (Miao et al., ICME 2023, arXiv 2306.11400)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import context_and_words, prompt_depth, random_prompts
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, TextPrompts, VisualPrompts


class MuDPTOptions(Options):
    """Options of MuDPT, with the defaults of its paper."""

    n_ctx: int = Field(4, ge=1, description="Number of prompts per layer, n, in both towers.")
    depth: int | None = Field(
        None,
        ge=1,
        description="Number of prompted layers in both towers, J. None: 9, or all layers of the shallower tower.",
    )
    ctx_init: str | None = Field(
        "a photo of a", description="Words whose first n embeddings initialize the text context. None: N(0, 0.02^2)."
    )
    fusion: Literal["transformer", "linear"] = Field(
        "transformer", description="Network between the towers: the paper's Injection Model, or linear layers."
    )
    direction: Literal["both", "text-to-visual"] = Field(
        "both", description="Direction of fusion. With text-to-visual, all visual prompts come from the text prompts."
    )


@METHODS.register("mudpt")
class MuDPT(Method[MuDPTOptions]):
    """Deep prompts in both towers, fused by a light network in both directions.

    The towers get visual_* + T2V([text_context; text_deep]) and text_deep + V2T(visual_deep). With
    `fusion="transformer"` T2V and V2T are the paper's Injection Models; `fusion="linear"` is what the released trainer
    runs. That code projects to the joint dimension D instead of the text width d_t, which are equal in ViT-B/16; here
    it is d_t.

    Parameters: `text_context` (n, d_t), `text_deep` (J - 1, n, d_t), `visual_context` (n, d_v), `visual_deep`
    (J - 1, n, d_v), `text_to_visual.*` and `visual_to_text.*`. With `depth=1` there are no deep prompts and no
    `visual_to_text`.
    """

    Options = MuDPTOptions

    @property
    def adapts_images(self) -> bool:
        """Always True: there are prompt tokens in the image tower, learned or projected from text prompts."""
        return True

    def build(self) -> None:
        """Create prompts, from words or N(0, 0.02^2), and the networks between the towers."""
        options, text, vision = self.options, self.backbone.text, self.backbone.vision
        depth = prompt_depth("depth", options.depth, 9, min(text.depth, vision.depth))
        n, deep, both = options.n_ctx, depth > 1, options.direction == "both"
        assert vision.width is not None
        # Unlike MaPLe, MuDPT drops the words after the first n.
        self.text_context = nn.Parameter(context_and_words(self.backbone, n, options.ctx_init)[0])
        if deep:
            self.text_deep = nn.Parameter(random_prompts(depth - 1, n, text.width))
        if both:
            self.visual_context = nn.Parameter(random_prompts(n, vision.width))
        if both and deep:
            self.visual_deep = nn.Parameter(random_prompts(depth - 1, n, vision.width))
        self.text_to_visual = self._fusion(text.width, vision.width, context=True, deep=deep)
        if both and deep:
            self.visual_to_text = self._fusion(vision.width, text.width, context=False, deep=True)

    def _fusion(self, width: int, other: int, *, context: bool, deep: bool) -> nn.Module:
        if self.options.fusion == "transformer":
            return InjectionModel(width, other)
        return LinearFusion(width, other, context=context, deep=deep)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the fused prompts of both towers; visual ones follow the patches and precede `ln_pre`."""
        text_deep: Tensor | None = getattr(self, "text_deep", None)
        every = self.text_context[None] if text_deep is None else torch.cat([self.text_context[None], text_deep])
        visual = self.text_to_visual(every)  # (J, n, d_v)
        context, deep = visual[0], visual[1:] if text_deep is not None else None
        if self.options.direction == "both":
            context = context + self.visual_context
        if self.options.direction == "both" and text_deep is not None and deep is not None:
            deep = deep + self.visual_deep
            text_deep = text_deep + self.visual_to_text(self.visual_deep)
        return Adapters(TextPrompts(self.text_context, deep=text_deep), VisualPrompts(context, deep))


class InjectionModel(nn.Module):
    """Layer norm, one transformer block over the n prompts of a layer, layer norm, projection to the other width.

    The same weights serve every layer.
    """

    def __init__(self, width: int, other: int) -> None:
        super().__init__()
        self.ln_pre = nn.LayerNorm(width)
        self.block = InjectionBlock(width)
        self.ln_post = nn.LayerNorm(width)
        self.projection = nn.Linear(width, other)

    def forward(self, prompts: Tensor) -> Tensor:
        """Project prompts (J, n, width) to the other tower's width: (J, n, other)."""
        out: Tensor = self.projection(self.ln_post(self.block(self.ln_pre(prompts))))
        return out


class InjectionBlock(nn.Module):
    """CLIP's transformer block: pre-norm, one head per 64 of width, an MLP four times as wide with QuickGELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, max(1, width // 64), batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention among the n tokens of each layer, and the MLP, to tokens (J, n, width)."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp["c_fc"](self.ln_2(x))
        out: Tensor = x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return out


class LinearFusion(nn.Module):
    """Linear projections: one for the prompts of the first layer, and one for those of all deeper layers."""

    def __init__(self, width: int, other: int, *, context: bool, deep: bool) -> None:
        super().__init__()
        if context:
            self.context_projection = nn.Linear(width, other)
        if deep:
            self.deep_projection = nn.Linear(width, other)

    def forward(self, prompts: Tensor) -> Tensor:
        """Project prompts (J, n, width) to (J, n, other), starting with the first layer's if it has a projection."""
        split = int(hasattr(self, "context_projection"))
        parts = [self.context_projection(prompts[:split])] if split else []
        if len(prompts) > split:
            parts.append(self.deep_projection(prompts[split:]))
        return torch.cat(parts)
