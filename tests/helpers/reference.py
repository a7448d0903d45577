"""Reference text tower: every sentence at full length, nothing shared or skipped, as in published code.

Tests compare `TextTower.encode_prompts` with it. It runs the loaded open_clip blocks as modules.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.packing import arrange
from vlprompt.prompts import TextPrompts


def encode_prompts_plainly(tower: ClipTextTower, prompts: TextPrompts, names: Sequence[str]) -> Tensor:
    """Return features (C, D), or (B, C, D) for a context per image, of the prompted sentences of C names."""
    module = tower.module
    tokens, slots = arrange(
        tower.tokenizer,
        names,
        length=prompts.length,
        position=prompts.position,
        frozen_words=prompts.frozen_words,
    )
    read = tower.read_position(tokens)
    tokens, slots = tokens.to(tower.device), slots.to(tower.device)
    words = module.token_embedding(tokens)
    contexts = prompts.context if prompts.per == "image" else prompts.context[None]
    features = []
    for context in contexts:
        x = words.clone()
        for row, places in enumerate(slots):
            vectors = context[row] if prompts.per == "class" else context
            x[row, places >= 0] = vectors[places[places >= 0]].to(x.dtype)
        x = x + module.positional_embedding
        for layer, block in enumerate(module.transformer.resblocks):
            if prompts.deep is not None and 1 <= layer <= len(prompts.deep):
                x = x.clone()
                for row, places in enumerate(slots):
                    x[row, places >= 0] = prompts.deep[layer - 1][places[places >= 0]].to(x.dtype)
            x = block(x, attn_mask=module.attn_mask)
        features.append(tower.head(x[torch.arange(len(x)), read]))
    return torch.stack(features) if prompts.per == "image" else features[0]
