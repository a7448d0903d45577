"""What every source of weights is loaded into."""

from dataclasses import dataclass
from typing import Any

from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.errors import VLPromptError

OPENAI_MEAN: tuple[float, float, float] = OPENAI_DATASET_MEAN
OPENAI_STD: tuple[float, float, float] = OPENAI_DATASET_STD


@dataclass(frozen=True)
class LoadedModel:
    """A dual encoder as published, in fp32 on the CPU, in eval mode and frozen; and how its inputs are made.

    `model` is an open_clip `CLIP` or `CustomTextCLIP`. Images are `image_size` pixels square; `mean` and
    `std` are those of RGB in [0, 1].
    """

    model: nn.Module
    tokenizer: Tokenizer
    name: str
    image_size: int
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: str = "bicubic"
    squash: bool = False


def square_size(model: Any) -> int:
    """Pixels on a side of the images that an open_clip model reads; VLPromptError if they aren't square."""
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise VLPromptError(f"the model reads images of {height} x {width} pixels; they have to be square")
    return int(height)
