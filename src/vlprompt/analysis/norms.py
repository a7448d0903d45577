"""Norms of prompts at each layer, compared with those of the frozen tower's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tracing import text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts, VisualPrompts

SENTENCES = 64  # maximum number of sentences whose hidden states are measured


@dataclass(frozen=True)
class Spread:
    """Median and 5% and 95% quantiles of a set of numbers."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Spread":
        """Return the quantiles of values (N,)."""
        low, median, high = values.float().cpu().quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
        return cls(low, median, high)


@dataclass(frozen=True)
class LayerNorms:
    """Norms at a layer that inserts prompts.

    Attributes:
        prompts: Norms of the prompts.
        tokens: Norms of the frozen tower's tokens at the layer; None if unknown.
    """

    prompts: tuple[float, ...]
    tokens: Spread | None


@torch.no_grad()
def text_norms(
    tower: TextTower, prompts: TextPrompts, template: str, names: Sequence[str], vocabulary: Spread
) -> list[LayerNorms]:
    """Measure norms of context vectors and token embeddings, and of deep prompts and hidden states of words.

    Args:
        tower: Text tower.
        prompts: Shared or class-specific prompts.
        template: Template of the sentences.
        names: Class names, of which the first `SENTENCES` are used.
        vocabulary: Norms of the token embeddings.
    """
    if prompted_layers(prompts) == 1:
        return _layers(prompts, [vocabulary])
    assert isinstance(tower, ClipTextTower)  # no other takes deep prompts
    tokens = tower.tokenizer([template.format(name) for name in names[:SENTENCES]])
    ends = tokens.eq(tower.tokenizer.eot).int().argmax(1)
    steps = text_steps(tower, tokens, torch.full_like(tokens, -1), None)
    first = 0 if tower.tokenizer.sos is None else 1
    there = [vocabulary]
    for step in islice(steps, 1, prompted_layers(prompts)):
        norms = step.entering.float().norm(dim=-1).cpu()  # (C, L)
        places = torch.arange(norms.shape[1])
        there.append(Spread.of(norms[(places >= first) & (places < ends[:, None])]))
    return _layers(prompts, there)


@torch.no_grad()
def image_norms(tower: ViTTower, prompts: VisualPrompts, images: Tensor) -> list[LayerNorms]:
    """Measure norms of visual prompts, and of the class token and patches of images (B, 3, S, S)."""
    steps = islice(vision_steps(tower, images, None), prompted_layers(prompts))
    there = [Spread.of(step.entering.float().norm(dim=-1).flatten()) for step in steps]
    if prompts.before_ln_pre:
        there[0] = Spread.of(tower.embed(images).float().norm(dim=-1).flatten())
    return _layers(prompts, there)


def prompt_norms(prompts: TextPrompts | VisualPrompts) -> list[LayerNorms]:
    """Measure norms of prompts without tokens to compare with."""
    return _layers(prompts, [None] * prompted_layers(prompts))


def prompted_layers(prompts: TextPrompts | VisualPrompts) -> int:
    """Return J, the number of layers that insert prompts."""
    return 1 if prompts.deep is None else 1 + len(prompts.deep)


def _layers(prompts: TextPrompts | VisualPrompts, tokens: Sequence[Spread | None]) -> list[LayerNorms]:
    own = [prompts.context, *(() if prompts.deep is None else prompts.deep)]
    norms = [tuple(vectors.float().norm(dim=-1).flatten().tolist()) for vectors in own]
    return [LayerNorms(norm, there) for norm, there in zip(norms, tokens, strict=True)]
