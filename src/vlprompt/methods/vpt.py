"""VPT: Visual Prompt Tuning (Jia et al., ECCV 2022, arXiv 2203.12119), as it is used with CLIP."""

from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method, Options
from vlprompt.methods.init import prompt_depth, random_prompts
from vlprompt.prompts import TextPrompts, VisualPrompts


class VPTOptions(Options):
    """Options of VPT, with the defaults of the CLIP version that MaPLe's authors compare with."""

    n_visual: int = Field(8, ge=1, description="n, prompt tokens of the image tower.")
    depth: int | None = Field(
        None, ge=1, description="J, layers that get prompts of their own; None: 12, as far as there are layers."
    )


@METHODS.register("vpt")
class VPT(Method[VPTOptions]):
    """Prompt tokens behind the patches, replaced by new ones at the first J layers; the text is a fixed template.

    The prompts start from N(0, 0.02^2), as in that version; the paper draws them from a uniform range.

    Parameters: `visual_context` (n, d_v), and with J > 1 `visual_deep` (J - 1, n, d_v).
    """

    Options = VPTOptions
    name = "vpt"

    @property
    def visual_prompts(self) -> bool:
        """There are always prompt tokens in the image tower."""
        return True

    def build(self) -> None:
        """Create the prompts."""
        n, vision = self.options.n_visual, self.backbone.vision
        assert vision.width is not None
        depth = prompt_depth("depth", self.options.depth, 12, vision.depth)
        self.visual_context = nn.Parameter(random_prompts(n, vision.width))
        self.visual_deep = nn.Parameter(random_prompts(depth - 1, n, vision.width)) if depth > 1 else None

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """No text prompts; visual ones behind the patches, in front of the first layer norm."""
        return None, VisualPrompts(self.visual_context, self.visual_deep)
