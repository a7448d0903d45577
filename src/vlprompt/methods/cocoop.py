"""CoCoOp: Conditional Prompt Learning (Zhou et al., CVPR 2022, arXiv 2203.05557)."""

from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method, Options, Prediction
from vlprompt.methods.init import initial_context
from vlprompt.prompts import TextPrompts, VisualPrompts


class CoCoOpOptions(Options):
    """Options of CoCoOp, with the defaults of its paper."""

    n_ctx: int = Field(4, ge=1, description="n, context vectors. `ctx_init` sets it to its own number of tokens.")
    ctx_init: str | None = Field(
        "a photo of a",
        description="Words whose embeddings start the context; None, or `n_ctx` given alone: N(0, 0.02^2).",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_length(cls, values: Any) -> Any:
        """Keep the default words from overruling a length that was asked for."""
        return {"ctx_init": None, **values} if isinstance(values, dict) and "n_ctx" in values else values


class MetaNet(nn.Module):
    """Two layers with a bottleneck, from image features (B, D) to what is added to each context vector (B, d_t)."""

    def __init__(self, embed_dim: int, text_width: int) -> None:
        super().__init__()
        bottleneck = max(1, embed_dim // 16)
        self.linear1 = nn.Linear(embed_dim, bottleneck)
        self.linear2 = nn.Linear(bottleneck, text_width)

    def forward(self, features: Tensor) -> Tensor:
        """What the images (B, D) add to the context, tensor with shape (B, d_t)."""
        added: Tensor = self.linear2(self.linear1(features).relu())
        return added


@METHODS.register("cocoop")
class CoCoOp(Method[CoCoOpOptions]):
    """A context that every image shifts; loss is cross-entropy.

    The context of image i is `text_context + meta_net(x_i)`, so that there is a text feature for each image and class.
    The released code runs the text tower image by image; here all images of a batch go through it at once.

    Parameters: `text_context` (n, d_t); `meta_net.linear1` (D -> D // 16) and `meta_net.linear2` (-> d_t).
    """

    Options = CoCoOpOptions
    name = "cocoop"

    @property
    def instance_conditional(self) -> bool:
        """Every image has text features of its own."""
        return True

    def build(self) -> None:
        """Create the context and the network that shifts it."""
        backbone = self.backbone
        self.text_context = nn.Parameter(initial_context(backbone, self.options.n_ctx, self.options.ctx_init))
        self.meta_net = MetaNet(backbone.embed_dim, backbone.text.width)

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """A context per image, or without images the one that all of them shift; the image tower stays frozen."""
        if image_features is None:
            return TextPrompts(self.text_context), None
        shifted = self.text_context + self.meta_net(image_features)[:, None]  # (B, n, d_t)
        return TextPrompts(shifted, "image"), None

    def forward(self, images: Tensor, text_features: Tensor | None = None) -> Prediction:
        """Classify a batch of images or frozen features; `text_features` (B, C, D) are those of the same images."""
        image_features = self._image_features(images, None)
        if text_features is None:
            text_features = self._text_features(self.prompts(image_features)[0])
        return self.classify(image_features, text_features)
