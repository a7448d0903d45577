"""CLIP-LoRA: low-rank few-shot adaptation (Zanella & Ben Ayed, CVPRW 2024, arXiv 2405.18541)."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, LowRankUpdates


class CLIPLoRAOptions(Options):
    """Options of CLIP-LoRA, with the defaults of its paper."""

    rank: int = Field(2, ge=1, description="Rank of the updates, r.")
    alpha: float = Field(1.0, gt=0, description="Scale of the updates, which are multiplied by alpha / sqrt(r).")
    dropout: float = Field(
        0.25, ge=0, lt=1, description="Probability of zeroing an entry of the update's input in training."
    )


@METHODS.register("clip-lora")
class CLIPLoRA(Method[CLIPLoRAOptions]):
    """Low-rank updates of the query, key and value projections in every layer of both towers; fixed template.

    A projection x W^T becomes x W^T + alpha / sqrt(r) * dropout(x) A^T B^T. LoRA itself scales by alpha / r; the root
    is in the released code, which produced the paper's numbers. Training differs from that code only in its noise:
    query, key and value of a token share one dropout mask, and the words before the names, which are computed once for
    all classes, share one mask.

    Parameters: `text_down` (layers, 3, r, d_t), `text_up` (layers, 3, d_t, r), `visual_down` (layers, 3, r, d_v),
    `visual_up` (layers, 3, d_v, r).
    """

    Options = CLIPLoRAOptions

    @property
    def adapts_images(self) -> bool:
        """Always True: the image tower gets low-rank updates."""
        return True

    def build(self) -> None:
        """Create A, initialized like a linear layer, and B = 0, so that training starts from the frozen towers."""
        text, vision = self.backbone.text, self.backbone.vision
        if not vision.takes_updates:
            raise VLPromptError(
                f"method {self.name!r} requires CLIP's own image tower, got {vision.kind} in {self.backbone.name}; "
                "use a CLIP ViT, or a method that learns prompts"
            )
        assert vision.width is not None
        self.text_down, self.text_up = low_rank(text.depth, self.options.rank, text.width)
        self.visual_down, self.visual_up = low_rank(vision.depth, self.options.rank, vision.width)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the updates of both towers, with dropout in training, and no prompts."""
        scale = self.options.alpha / math.sqrt(self.options.rank)
        dropout = self.options.dropout if self.training else 0.0
        return Adapters(
            text_updates=LowRankUpdates(self.text_down, self.text_up, scale, dropout),
            visual_updates=LowRankUpdates(self.visual_down, self.visual_up, scale, dropout),
        )


def low_rank(layers: int, rank: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return A (layers, 3, rank, width) and B (layers, 3, width, rank) for a tower."""
    bound = 1 / math.sqrt(width)
    down = torch.empty(layers, 3, rank, width).uniform_(-bound, bound)
    return nn.Parameter(down), nn.Parameter(torch.zeros(layers, 3, width, rank))
