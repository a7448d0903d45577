"""How long prompts are at each layer, beside the tokens that the frozen tower has there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from vlprompt.analysis.summaries import Spread
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tracing import text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts, VisualPrompts

SENTENCES = 64  # as many as the lengths of hidden states are taken from


@dataclass(frozen=True)
class LayerNorms:
    """One of the layers that prompts are put in at.

    Attributes:
        prompts: norms of these vectors.
        tokens: norms of what the frozen tower has in their place; None where it is not known.
    """

    prompts: tuple[float, ...]
    tokens: Spread | None


@torch.no_grad()
def text_norms(
    tower: TextTower, prompts: TextPrompts, template: str, names: Sequence[str], vocabulary: Spread
) -> list[LayerNorms]:
    """Context vectors beside the embeddings of the vocabulary, deep ones beside the words of hand-crafted sentences.

    Args:
        tower: CLIP's.
        prompts: shared or per class.
        template: of the sentences.
        names: of the classes; the first `SENTENCES` of them are enough.
        vocabulary: norms of its embeddings.
    """
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
    """Prompt tokens beside class token and patches of images (B, 3, S, S), where they join them."""
    steps = islice(vision_steps(tower, images, None), prompted_layers(prompts))
    there = [Spread.of(step.entering.float().norm(dim=-1).flatten()) for step in steps]
    if prompts.before_ln_pre:
        there[0] = Spread.of(tower.embed(images).float().norm(dim=-1).flatten())
    return _layers(prompts, there)


def prompt_norms(prompts: TextPrompts | VisualPrompts) -> list[LayerNorms]:
    """Prompts alone."""
    return _layers(prompts, [None] * prompted_layers(prompts))


def prompted_layers(prompts: TextPrompts | VisualPrompts) -> int:
    """J, how many layers have prompts of their own."""
    return 1 if prompts.deep is None else 1 + len(prompts.deep)


def _layers(prompts: TextPrompts | VisualPrompts, tokens: Sequence[Spread | None]) -> list[LayerNorms]:
    own = [prompts.context, *(() if prompts.deep is None else prompts.deep)]
    norms = [tuple(vectors.float().norm(dim=-1).flatten().tolist()) for vectors in own]
    return [LayerNorms(norm, there) for norm, there in zip(norms, tokens, strict=True)]
