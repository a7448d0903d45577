"""Zero-shot classification: hand-crafted prompts, nothing learned."""

from torch import Tensor

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters


@METHODS.register("zero-shot")
class ZeroShot(Method[Options]):
    """CLIP's own classifier (Radford et al., 2021): cosines with the text features of one template or an ensemble."""

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return no adapters: both towers are frozen."""
        return Adapters()
