"""Zero-shot classification with hand-crafted prompts; nothing is learned."""

from torch import Tensor

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters


@METHODS.register("zero-shot")
class ZeroShot(Method[Options]):
    """CLIP's zero-shot classifier (Radford et al., 2021): cosines with text features of one or more templates."""

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return no adapters: both towers are frozen."""
        return Adapters()
