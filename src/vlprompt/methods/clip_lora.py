"""CLIP-LoRA: low-rank few-shot adaptation (Zanella & Ben Ayed, CVPRW 2024, arXiv 2405.18541)."""

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, Method, Options
from vlprompt.prompts import LowRankUpdates, TextPrompts, VisualPrompts


class CLIPLoRAOptions(Options):
    """Options of CLIP-LoRA, with the defaults of its paper."""

    rank: int = Field(2, ge=1, description="r, rank of what is added to a projection.")
    alpha: float = Field(1.0, gt=0, description="The addition is scaled by alpha / sqrt(r).")
    dropout: float = Field(
        0.25, ge=0, lt=1, description="Share of its input that the addition does not see in training."
    )


@METHODS.register("clip-lora")
class CLIPLoRA(Method[CLIPLoRAOptions]):
    """Low-rank additions to the query, key and value projections of every layer of both towers; fixed template.

    A projection x W^T becomes x W^T + alpha / sqrt(r) * dropout(x) A^T B^T. LoRA's own factor is alpha / r; that with
    the root is what the released code runs, and so what the paper's numbers stand for. Two things differ from it in
    training, in the noise only: query, key and value of a token share one dropout mask; and since the words in
    front of the names are computed once for all classes, so is their mask.

    Parameters: `text_down` (layers, 3, r, d_t), `text_up` (layers, 3, d_t, r), `visual_down` and `visual_up` likewise.
    """

    Options = CLIPLoRAOptions
    name = "clip-lora"

    @property
    def visual_prompts(self) -> bool:
        """The image tower is always changed."""
        return True

    def build(self) -> None:
        """Create A as a linear layer starts, and B of zeros, so that training starts from the frozen towers."""
        text, vision = self.backbone.text, self.backbone.vision
        if not vision.takes_updates:
            raise VLPromptError(
                f"method 'clip-lora' changes the attention of the image tower, and that of {self.backbone.name} "
                f"({vision.kind}) is not CLIP's own; use a CLIP ViT, or a method that learns prompts"
            )
        assert vision.width is not None
        self.text_down, self.text_up = low_rank(text.depth, self.options.rank, text.width)
        self.visual_down, self.visual_up = low_rank(vision.depth, self.options.rank, vision.width)

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """No prompts: the towers get `updates`."""
        return None, None

    def updates(self) -> tuple[LowRankUpdates, LowRankUpdates]:
        """What is added in the text tower and in the image tower."""
        scale = self.options.alpha / math.sqrt(self.options.rank)
        dropout = self.options.dropout if self.training else 0.0
        return (
            LowRankUpdates(self.text_down, self.text_up, scale, dropout),
            LowRankUpdates(self.visual_down, self.visual_up, scale, dropout),
        )

    def _text_features(self, prompts: TextPrompts | None) -> Tensor:
        updates = self.updates()[0]
        total = torch.zeros((), device=self.backbone.device)
        for sentence in self.options.own_templates:
            tokens = self.backbone.tokenize([sentence.format(name) for name in self.class_names])
            total = total + F.normalize(self.backbone.text(tokens, updates), dim=-1)
        return F.normalize(total, dim=-1)

    def _image_features(self, images: Tensor, prompts: VisualPrompts | None) -> Tensor:
        if images.ndim == 2:
            raise VLPromptError("method 'clip-lora' changes the image tower and needs images, not frozen features")
        return F.normalize(self.backbone.vision(images, updates=self.updates()[1]), dim=-1)


def low_rank(layers: int, rank: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A (layers, 3, rank, width) and B (layers, 3, width, rank) of a tower."""
    bound = 1 / math.sqrt(width)
    down = torch.empty(layers, 3, rank, width).uniform_(-bound, bound)
    return nn.Parameter(down), nn.Parameter(torch.zeros(layers, 3, width, rank))
