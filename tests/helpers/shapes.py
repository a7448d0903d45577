"""A backbone whose widths, depths and joint dimension all differ, and a batch for it."""

from functools import cache
from typing import Any

import open_clip
import torch
from torch import Tensor

import vlprompt
from vlprompt import Backbone, Method

NAMES = ["red_apple", "dog", "forget me not"]
TEXT_WIDTH, TEXT_DEPTH, VISUAL_WIDTH, VISUAL_DEPTH, JOINT = 64, 4, 96, 3, 48


@cache
def uneven() -> Backbone:
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": VISUAL_WIDTH, "layers": VISUAL_DEPTH, "head_width": 32}
    text = {"width": TEXT_WIDTH, "layers": TEXT_DEPTH, "heads": 2}
    return vlprompt.load_backbone(open_clip.CLIP(JOINT, image, text, quick_gelu=True), device="cpu")


def batch() -> tuple[Tensor, Tensor]:
    """Return six images, and their labels among `NAMES`."""
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return images, torch.tensor([0, 1, 2, 0, 1, 2])


def losses(method: Method[Any], steps: int = 10, lr: float = 0.01) -> list[float]:
    """Train a few steps on one batch; return the losses before each step and after the last."""
    images, labels = batch()
    optimizer = torch.optim.Adam(method.parameters(), lr=lr)
    seen = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        terms = method.loss(method(images), labels)
        seen.append(terms.total.item())
        method.backward(terms)
        optimizer.step()
    return seen
