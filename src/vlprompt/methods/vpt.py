"""VPT: Visual Prompt Tuning (Jia et al., ECCV 2022, arXiv 2203.12119), applied to CLIP."""

from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import prompt_depth, random_prompts
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, VisualPrompts


class VPTOptions(Options):
    """Options of VPT, with the defaults of the CLIP version that MaPLe's authors compare with."""

    n_visual: int = Field(8, ge=1, description="Number of prompt tokens in the image tower, n.")
    depth: int | None = Field(
        None, ge=1, description="Number of prompted layers, J. None: 12, or all layers if there are fewer."
    )


@METHODS.register("vpt")
class VPT(Method[VPTOptions]):
    """Prompt tokens after the patches, with new ones at each of the first J layers; the text is a fixed template.

    Prompts are drawn from N(0, 0.02^2), as in the CLIP version; the paper draws them from a uniform distribution.

    Parameters: `visual_context` (n, d_v), and with J > 1 `visual_deep` (J - 1, n, d_v).
    """

    Options = VPTOptions

    @property
    def adapts_images(self) -> bool:
        """Always True: there are prompt tokens in the image tower."""
        return True

    def build(self) -> None:
        """Create the prompts."""
        n, vision = self.options.n_visual, self.backbone.vision
        assert vision.width is not None
        depth = prompt_depth("depth", self.options.depth, 12, vision.depth)
        self.visual_context = nn.Parameter(random_prompts(n, vision.width))
        self.visual_deep = nn.Parameter(random_prompts(depth - 1, n, vision.width)) if depth > 1 else None

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return visual prompts after the patches, inserted before the first layer norm."""
        return Adapters(visual=VisualPrompts(self.visual_context, self.visual_deep))
