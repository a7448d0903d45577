"""IVLP: independent prompts in both towers, the baseline of MaPLe (arXiv 2210.03117) and PromptSRC (2307.06948).

`IndependentPrompts` is also the base of PromptSRC, which trains the same prompts with another loss.
"""

from typing import ClassVar, TypeVar

from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import context_and_words, prompt_depth, random_prompts
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, TextPrompts, VisualPrompts


class IVLPOptions(Options):
    """Options of IVLP, with the defaults of its base-to-new recipe."""

    n_text: int = Field(2, ge=1, description="Number of context vectors in the text tower.")
    n_visual: int = Field(2, ge=1, description="Number of prompt tokens in the image tower.")
    depth_text: int | None = Field(
        None,
        ge=1,
        description="Number of prompted text layers, J_t. None: as in the paper, or all layers if there are fewer.",
    )
    depth_visual: int | None = Field(
        None,
        ge=1,
        description="Number of prompted image layers, J_v. None: as in the paper, or all layers if there are fewer.",
    )
    ctx_init: str | None = Field(
        "a photo of a",
        description="Words that initialize the first n_text context vectors; further words stay frozen. None: "
        "N(0, 0.02^2).",
    )


IVLPOptionsType = TypeVar("IVLPOptionsType", bound=IVLPOptions)


class IndependentPrompts(Method[IVLPOptionsType]):
    """Independent deep prompts in both towers.

    They follow the start token in the text tower and the patches in the image tower, and are replaced by new ones at
    each of the first J_t and J_v layers.

    Parameters: `text_context` (n_t, d_t), `visual_context` (n_v, d_v), and where J > 1 `text_deep` (J_t - 1, n_t, d_t)
    and `visual_deep` (J_v - 1, n_v, d_v).

    Attributes:
        usual_depth: default depth, as in the paper.
    """

    usual_depth: ClassVar[int]

    @property
    def adapts_images(self) -> bool:
        """Always True: there are prompt tokens in the image tower."""
        return True

    def build(self) -> None:
        """Create the prompts, with the text context from words and all others from N(0, 0.02^2)."""
        options, text, vision = self.options, self.backbone.text, self.backbone.vision
        n_text, n_visual = options.n_text, options.n_visual
        assert vision.width is not None
        depth_text = prompt_depth("depth_text", options.depth_text, self.usual_depth, text.depth)
        depth_visual = prompt_depth("depth_visual", options.depth_visual, self.usual_depth, vision.depth)
        context, self.frozen_words = context_and_words(self.backbone, n_text, options.ctx_init)
        self.text_context = nn.Parameter(context)
        self.visual_context = nn.Parameter(random_prompts(n_visual, vision.width))
        self.text_deep = nn.Parameter(random_prompts(depth_text - 1, n_text, text.width)) if depth_text > 1 else None
        self.visual_deep = (
            nn.Parameter(random_prompts(depth_visual - 1, n_visual, vision.width)) if depth_visual > 1 else None
        )

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the prompts of both towers."""
        return Adapters(
            TextPrompts(self.text_context, deep=self.text_deep, frozen_words=self.frozen_words),
            VisualPrompts(self.visual_context, self.visual_deep),
        )


@METHODS.register("ivlp")
class IVLP(IndependentPrompts[IVLPOptions]):
    """Independent prompts in both towers, trained with cross-entropy; parameters as in `IndependentPrompts`."""

    Options = IVLPOptions
    usual_depth = 12
