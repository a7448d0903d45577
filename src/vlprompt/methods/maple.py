"""MaPLe: Multi-modal Prompt Learning (Khattak et al., CVPR 2023, arXiv 2210.03117)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method, Options
from vlprompt.methods.init import context_and_words, prompt_depth, random_prompts
from vlprompt.prompts import TextPrompts, VisualPrompts


class MaPLeOptions(Options):
    """Options of MaPLe, with the defaults of its paper."""

    n_ctx: int = Field(2, ge=1, description="n, prompts of a layer, the same in both towers.")
    depth: int | None = Field(
        None, ge=1, description="J, layers of both towers that get prompts; None: 9, as far as both have layers."
    )
    ctx_init: str | None = Field(
        "a photo of a",
        description="Words that the first n context vectors start from; what is left of them stays as frozen words. "
        "None: N(0, 0.02^2).",
    )


class TextToVisual(nn.Module):
    """One linear layer for each prompted layer, from the text tower's width to the image tower's."""

    def __init__(self, text_width: int, visual_width: int, depth: int) -> None:
        super().__init__()
        self.context_projection = nn.Linear(text_width, visual_width)
        self.deep_projections = nn.ModuleList(nn.Linear(text_width, visual_width) for _ in range(depth - 1))


@METHODS.register("maple")
class MaPLe(Method[MaPLeOptions]):
    """Deep text prompts, and visual prompts that are projections of them.

    Parameters: `text_context` (n, d_t), `text_to_visual.context_projection`, and with J > 1 `text_deep` (J - 1, n, d_t)
    and `text_to_visual.deep_projections.{i}`. The released code writes 512 and 768 for the widths; here they are the
    towers' own.
    """

    Options = MaPLeOptions
    name = "maple"

    @property
    def visual_prompts(self) -> bool:
        """There are always prompt tokens in the image tower."""
        return True

    def build(self) -> None:
        """Create text prompts, the context from words and deep ones from N(0, 0.02^2), and their projections."""
        options, text, vision = self.options, self.backbone.text, self.backbone.vision
        assert vision.width is not None
        depth = prompt_depth("depth", options.depth, 9, min(text.depth, vision.depth))
        context, self.frozen_words = context_and_words(self.backbone, options.n_ctx, options.ctx_init)
        self.text_context = nn.Parameter(context)
        self.text_deep = nn.Parameter(random_prompts(depth - 1, options.n_ctx, text.width)) if depth > 1 else None
        self.text_to_visual = TextToVisual(text.width, vision.width, depth)

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """Text prompts, and what each layer's projection makes of them."""
        project = self.text_to_visual
        text = TextPrompts(self.text_context, deep=self.text_deep, frozen_words=self.frozen_words)
        visual_deep = None
        if self.text_deep is not None:
            layers = zip(project.deep_projections, self.text_deep, strict=True)
            visual_deep = torch.stack([projection(prompts) for projection, prompts in layers])
        return text, VisualPrompts(project.context_projection(self.text_context), visual_deep)
