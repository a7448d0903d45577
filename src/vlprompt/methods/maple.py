"""MaPLe: Multi-modal Prompt Learning (Khattak et al., CVPR 2023, arXiv 2210.03117)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import context_and_words, prompt_depth, random_prompts
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, TextPrompts, VisualPrompts


class MaPLeOptions(Options):
    """Options of MaPLe, with the defaults of its paper."""

    n_ctx: int = Field(2, ge=1, description="Number of prompts per layer, n, in both towers.")
    depth: int | None = Field(
        None,
        ge=1,
        description="Number of prompted layers in both towers, J. None: 9, or all layers of the shallower tower.",
    )
    ctx_init: str | None = Field(
        "a photo of a",
        description="Words that initialize the first n context vectors; further words stay frozen. None: N(0, 0.02^2).",
    )


class TextToVisual(nn.Module):
    """Projections from the text tower's width to the image tower's, one per prompted layer."""

    def __init__(self, text_width: int, visual_width: int, depth: int) -> None:
        super().__init__()
        self.context_projection = nn.Linear(text_width, visual_width)
        self.deep_projections = nn.ModuleList(nn.Linear(text_width, visual_width) for _ in range(depth - 1))


@METHODS.register("maple")
class MaPLe(Method[MaPLeOptions]):
    """Deep text prompts, and visual prompts that are linear projections of them.

    Parameters: `text_context` (n, d_t), `text_to_visual.context_projection`, and with J > 1 `text_deep` (J - 1, n, d_t)
    and `text_to_visual.deep_projections.{i}`. Widths are the towers' own; the released code has 512 and 768.
    """

    Options = MaPLeOptions

    @property
    def adapts_images(self) -> bool:
        """Always True: there are prompt tokens in the image tower."""
        return True

    def build(self) -> None:
        """Create text prompts, with the context from words and deep ones from N(0, 0.02^2), and their projections."""
        options, text, vision = self.options, self.backbone.text, self.backbone.vision
        assert vision.width is not None
        depth = prompt_depth("depth", options.depth, 9, min(text.depth, vision.depth))
        context, self.frozen_words = context_and_words(self.backbone, options.n_ctx, options.ctx_init)
        self.text_context = nn.Parameter(context)
        self.text_deep = nn.Parameter(random_prompts(depth - 1, options.n_ctx, text.width)) if depth > 1 else None
        self.text_to_visual = TextToVisual(text.width, vision.width, depth)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return text prompts, and their projections as visual prompts."""
        project = self.text_to_visual
        text = TextPrompts(self.text_context, deep=self.text_deep, frozen_words=self.frozen_words)
        visual_deep = None
        if self.text_deep is not None:
            layers = zip(project.deep_projections, self.text_deep, strict=True)
            visual_deep = torch.stack([projection(prompts) for projection, prompts in layers])
        return Adapters(text, VisualPrompts(project.context_projection(self.text_context), visual_deep))
