"""Zero-shot classification: hand-crafted prompts, nothing learned."""

from torch import Tensor

from vlprompt.methods.base import METHODS, Method, Options
from vlprompt.prompts import TextPrompts, VisualPrompts


@METHODS.register("zero-shot")
class ZeroShot(Method[Options]):
    """CLIP's own classifier (Radford et al., 2021): the cosine to the features of one template or an ensemble."""

    name = "zero-shot"

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """No prompts: both towers frozen."""
        return None, None
