"""CoCoOp: Conditional Prompt Learning (Zhou et al., CVPR 2022, arXiv 2203.05557)."""

from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import initial_context
from vlprompt.methods.options import ContextOptions
from vlprompt.prompts import Adapters, TextPrompts


class MetaNet(nn.Module):
    """Bottleneck network of two linear layers that maps image features to a shift of the context vectors."""

    def __init__(self, embed_dim: int, text_width: int) -> None:
        super().__init__()
        bottleneck = max(1, embed_dim // 16)
        self.linear1 = nn.Linear(embed_dim, bottleneck)
        self.linear2 = nn.Linear(bottleneck, text_width)

    def forward(self, features: Tensor) -> Tensor:
        """Return the shift (B, d_t) for image features (B, D)."""
        added: Tensor = self.linear2(self.linear1(features).relu())
        return added


@METHODS.register("cocoop")
class CoCoOp(Method[ContextOptions]):
    """Context vectors that are shifted by every image; the loss is the cross-entropy.

    The context of image i is `text_context + meta_net(x_i)`, so there is a text feature for each image and class. The
    released code runs the text tower image by image; here the images of a batch run together.

    Parameters: `text_context` (n, d_t); `meta_net.linear1` (D -> D // 16) and `meta_net.linear2` (-> d_t).
    """

    Options = ContextOptions

    @property
    def instance_conditional(self) -> bool:
        """Always True: text features depend on the image."""
        return True

    def build(self) -> None:
        """Create the context and the network that shifts it."""
        backbone = self.backbone
        self.text_context = nn.Parameter(initial_context(backbone, self.options.n_ctx, self.options.ctx_init))
        self.meta_net = MetaNet(backbone.embed_dim, backbone.text.width)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return one context per image, or the unshifted context without images."""
        if image_features is None:
            return Adapters(text=TextPrompts(self.text_context))
        shifted = self.text_context + self.meta_net(image_features)[:, None]  # (B, n, d_t)
        return Adapters(text=TextPrompts(shifted, "image"))
