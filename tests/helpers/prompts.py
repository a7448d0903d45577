"""Prompts of every kind for the model of `tests.helpers.shapes`, and traced layers of its text tower with them."""

import torch
from torch import Tensor

from tests.helpers.shapes import NAMES, TEXT_WIDTH, VISUAL_WIDTH
from vlprompt import Backbone
from vlprompt.backbones.packing import arrange
from vlprompt.backbones.tracing import Step, text_steps
from vlprompt.prompts import TextPrompts, VisualPrompts

WORDS = [name.replace("_", " ") for name in NAMES]


def deep(layers: int, n: int, width: int) -> Tensor:
    return torch.randn(layers - 1, n, width, generator=torch.Generator().manual_seed(1))


def context(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


TEXT = {
    "shared": TextPrompts(context(3, TEXT_WIDTH)),
    "deep": TextPrompts(context(3, TEXT_WIDTH), deep=deep(3, 3, TEXT_WIDTH), frozen_words="photo of a"),
    "middle": TextPrompts(context(3, TEXT_WIDTH), position="middle"),
    "front, of a class": TextPrompts(context(len(NAMES), 2, TEXT_WIDTH), "class", position="front"),
}
VISUAL = {
    "none": None,
    "behind, deep": VisualPrompts(context(4, VISUAL_WIDTH), deep(2, 4, VISUAL_WIDTH)),
    "in front, after the norm": VisualPrompts(context(2, VISUAL_WIDTH), position="after_class", before_ln_pre=False),
}


def walk_text(backbone: Backbone, prompts: TextPrompts) -> tuple[list[Step], Tensor, Tensor]:
    tower = backbone.text
    where = {"length": prompts.length, "position": prompts.position, "frozen_words": prompts.frozen_words}
    tokens, slots = arrange(tower.tokenizer, WORDS, **where)
    return list(text_steps(tower, tokens, slots, prompts)), tokens, slots
