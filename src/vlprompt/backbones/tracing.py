"""Run the towers layer by layer, recording each layer's input, output and attention weights, for analyses.

The towers use fused attention and compute shared tokens once. Here every sentence runs in full through the same blocks,
and attention weights are computed for the pooled token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts, VisualPrompts


@dataclass(frozen=True)
class Step:
    """Input, attention weights and output of one layer.

    Attributes:
        entering: input tokens (B, L, d), including the prompts of the layer.
        weights: attention weights (B, H, L) of the pooled token over all tokens, per head.
    """

    entering: Tensor
    weights: Tensor


def text_steps(tower: ClipTextTower, tokens: Tensor, slots: Tensor, prompts: TextPrompts | None) -> Iterator[Step]:
    """Yield the layers of the text tower.

    Args:
        tower: CLIP's text tower, causal or not.
        tokens: token ids (C, S), from `arrange`.
        slots: index of the context vector at each place (C, S); -1 for a token.
        prompts: prompts shared by the C sentences, or with a context for each; None for frozen sentences.
    """
    read = tower.read_position(tokens)
    length = int(read.max()) + 1 if tower.causal else tokens.shape[1]  # later tokens are never attended to
    tokens, slots, read = (value.to(tower.device) for value in (tokens[:, :length], slots[:, :length], read))
    taken, places = (slots >= 0)[..., None], slots.clamp(min=0)
    rows = torch.arange(len(tokens), device=tower.device)
    unseen = torch.arange(length, device=tower.device) > read[:, None] if tower.causal else None
    x = tower.embed(tokens)
    if prompts is not None:
        context = prompts.context.to(x.dtype)
        x = torch.where(taken, context[rows[:, None], places] if prompts.per == "class" else context[places], x)
    x = x + tower.module.positional_embedding[:length]
    for layer, block in enumerate(tower.blocks):
        if prompts is not None and prompts.deep is not None and 1 <= layer <= len(prompts.deep):
            x = torch.where(taken, prompts.deep[layer - 1].to(x.dtype)[places], x)
        query, key, value = block.query_key_value(block.normed(x))
        yield Step(x, _weights(query[rows, :, read][:, :, None], key, unseen))
        x = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=tower.causal))


def vision_steps(tower: ViTTower, images: Tensor, prompts: VisualPrompts | None) -> Iterator[Step]:
    """Yield the layers of the image tower for images (B, 3, S, S), which is pooled at the class token."""
    x = tower.enter(tower.embed(images), prompts)
    for layer, block in enumerate(tower.blocks):
        x = tower.deepen(x, prompts, layer)
        query, key, value = block.query_key_value(block.normed(x))
        yield Step(x, _weights(query[:, :, :1], key))
        x = block.finish(x, F.scaled_dot_product_attention(query, key, value))


def _weights(query: Tensor, key: Tensor, unseen: Tensor | None = None) -> Tensor:
    """Return attention weights (B, H, L), fp32, of a query (B, H, 1, d) over keys (B, H, L, d), masking `unseen`."""
    scores = (query @ key.transpose(-1, -2))[:, :, 0].float() * key.shape[-1] ** -0.5
    if unseen is not None:
        scores = scores.masked_fill(unseen[:, None], float("-inf"))
    weights: Tensor = scores.softmax(-1)
    return weights
