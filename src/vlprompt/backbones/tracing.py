"""The towers, layer by layer, with what they do not keep: the tokens that enter a layer, and attention weights.

The towers leave both out, since nobody but an analysis reads them: attention runs in one fused kernel, and tokens that
sentences share are computed once. Here every sentence is run whole and the weights of the token that is read are worked
out from its query and all keys, with the towers' own blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.text import TextTower
from vlprompt.backbones.vision import ViTTower, insert, replace
from vlprompt.prompts import TextPrompts, VisualPrompts


@dataclass(frozen=True)
class Step:
    """One layer.

    Attributes:
        entering: tokens (B, L, d) as the layer gets them, with its own prompts in place.
        weights: attention (B, H, L) of the token that is read, over all tokens, of each head.
        leaving: tokens (B, L, d) behind it.
    """

    entering: Tensor
    weights: Tensor
    leaving: Tensor


def text_steps(tower: TextTower, tokens: Tensor, slots: Tensor, prompts: TextPrompts | None) -> Iterator[Step]:
    """Layers of the text tower; the token that is read is the one whose feature stands for the sentence.

    Args:
        tower: CLIP's, causal or not.
        tokens, slots: (C, S) as `arrange` makes them; slots are -1 where no context vector stands.
        prompts: shared, or with a context for each of the C sentences.
    """
    module = tower._tower
    read = tower.read_position(tokens)
    length = int(read.max()) + 1 if tower.causal else tokens.shape[1]  # nobody sees what stands behind
    tokens, slots, read = (value.to(tower.device) for value in (tokens[:, :length], slots[:, :length], read))
    taken, places = (slots >= 0)[..., None], slots.clamp(min=0)
    rows = torch.arange(len(tokens), device=tower.device)
    unseen = torch.arange(length, device=tower.device) > read[:, None] if tower.causal else None
    x = tower._embed(tokens)
    if prompts is not None:
        context = prompts.context.to(x.dtype)
        x = torch.where(taken, context[rows[:, None], places] if prompts.per == "class" else context[places], x)
    x = x + module.positional_embedding[:length]
    for layer, block in enumerate(tower._blocks):
        if prompts is not None and prompts.deep is not None and 1 <= layer <= len(prompts.deep):
            x = torch.where(taken, prompts.deep[layer - 1].to(x.dtype)[places], x)
        query, key, value = block.query_key_value(block.normed(x))
        weights = _weights(query[rows, :, read][:, :, None], key, unseen)
        leaving = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=tower.causal))
        yield Step(x, weights, leaving)
        x = leaving


def vision_steps(tower: ViTTower, images: Tensor, prompts: VisualPrompts | None) -> Iterator[Step]:
    """Layers of the image tower for images (B, 3, S, S); the token that is read is the class token, the first."""
    deep = None if prompts is None else prompts.deep
    x, start = entering_tokens(tower, images), prompt_start(tower, prompts)
    if prompts is None:
        x = tower._tower.ln_pre(x)
    elif prompts.before_ln_pre:
        x = tower._tower.ln_pre(insert(x, prompts.context, start))
    else:
        x = insert(tower._tower.ln_pre(x), prompts.context, start)
    for layer, block in enumerate(tower._blocks):
        if deep is not None and 1 <= layer <= len(deep):
            x = replace(x, deep[layer - 1], start)
        query, key, value = block.query_key_value(block.normed(x))
        leaving = block.finish(x, F.scaled_dot_product_attention(query, key, value))
        yield Step(x, _weights(query[:, :, :1], key), leaving)
        x = leaving


def entering_tokens(tower: ViTTower, images: Tensor) -> Tensor:
    """Class token and patches (B, 1 + P, d_v) with their positions, in front of the first layer norm."""
    module = tower._tower
    patches = module.conv1(images.to(module.conv1.weight.dtype)).flatten(2).transpose(1, 2)
    tokens: Tensor = insert(patches, module.class_embedding[None], 0) + module.positional_embedding
    return tokens


def reads_class_token(tower: ViTTower) -> bool:
    """Whether the feature is the class token's, and not the mean of the patches'."""
    return bool(tower._tower.pool_type == "tok")


def prompt_start(tower: ViTTower, prompts: VisualPrompts | None) -> int:
    """Where the first prompt token stands."""
    appended = prompts is None or prompts.position == "append"
    return int(tower._tower.positional_embedding.shape[0]) if appended else 1


def _weights(query: Tensor, key: Tensor, unseen: Tensor | None = None) -> Tensor:
    """Attention (B, H, L), fp32, of one query (B, H, 1, d) to keys (B, H, L, d); `unseen` (B, L) are left out."""
    scores = (query @ key.transpose(-1, -2))[:, :, 0].float() * key.shape[-1] ** -0.5
    if unseen is not None:
        scores = scores.masked_fill(unseen[:, None], float("-inf"))
    weights: Tensor = scores.softmax(-1)
    return weights
