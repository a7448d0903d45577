"""CLIP's text tower, which runs prompts without redundant computation; its features are exact.

A causal tower is pooled at one token, so tokens after it are not needed. The common start of all sentences (start
token, context, template words) does not attend to what follows, so its keys and values are computed once for all
classes, at every layer, including deep prompts. The rests of the sentences are concatenated without padding ("packed"),
or padded to the length of the longest ("padded").
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.backbones.block import Block
from vlprompt.backbones.packing import Places, Sentences, common_start, lay_out
from vlprompt.backbones.rest_attention import KeyValues, PackedAttention, PaddedAttention, RestAttention
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.prompts import LowRankUpdates, TextPrompts


class ClipTextTower(TextTower):
    """CLIP's text transformer, causal or bidirectional (SigLIP).

    Attributes:
        blocks: its transformer blocks, first layer first.
        causal: whether tokens attend only to earlier ones. A bidirectional tower (SigLIP) shares no common start.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        tower: Any = getattr(model, "text", model)
        super().__init__(tower, tokenizer)
        self.blocks = [Block(block, layer) for layer, block in enumerate(tower.transformer.resblocks)]
        self._pool: str = getattr(tower, "pool_type", None) or tower.text_pool_type
        self._eos: int | None = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))
        self.causal: bool = tower.attn_mask is not None
        self.width = tower.token_embedding.weight.shape[1]
        self.depth = len(self.blocks)
        projection = tower.text_projection
        if isinstance(projection, nn.Linear):
            self.embed_dim = projection.out_features
        else:
            self.embed_dim = self.width if projection is None else projection.shape[1]
        self.context_length = tower.positional_embedding.shape[0]

    @property
    def token_table(self) -> Tensor:
        """Embeddings (V, d_t) of all V tokens, as loaded; zero for tokens missing from the weights."""
        table: Tensor = self.module.token_embedding.weight
        return table

    def read_position(self, tokens: Tensor) -> Tensor:
        """Return the positions (N,) at which sentences of tokens (N, S) are pooled."""
        if self._pool == "argmax":
            return tokens.argmax(-1)
        if self._pool == "eos":
            return tokens.eq(-1 if self._eos is None else self._eos).int().argmax(-1)
        position = 0 if self._pool == "first" else tokens.shape[1] - 1
        return torch.full((len(tokens),), position)

    def head(self, x: Tensor) -> Tensor:
        """Return features (..., D), fp32, of the last layer's output (..., d_t) at the pooled token."""
        x = self.module.ln_final(x)
        projection = self.module.text_projection
        if isinstance(projection, nn.Linear):
            x = projection(x)
        elif projection is not None:
            x = x @ projection
        features: Tensor = x.float()
        return features

    def _sentences_of(self, tokens: Tensor, slots: Tensor, *, share_slots: bool) -> Sentences:
        read = self.read_position(tokens)
        if not self.causal:  # every place, padding included, as the model was trained
            return lay_out(tokens, slots, read, torch.full_like(read, tokens.shape[1]), shared=0)
        # No place after the pooled one is needed, so that padding there changes nothing.
        lengths = read + 1 if self.layout == "packed" else (read + 1).amax().expand_as(read)
        return lay_out(tokens, slots, read, lengths, shared=common_start(tokens, slots, read, share_slots=share_slots))

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.module.positional_embedding.dtype
        return dtype

    def _encoder(
        self, sentences: Sentences, prompts: TextPrompts | None, updates: LowRankUpdates | None, images: int
    ) -> Callable[[int, int], Tensor]:
        if updates is not None:
            updates.check(self.depth, self.width)
        start = sentences.start
        deep = None if prompts is None or prompts.deep is None else prompts.deep.to(self._dtype)
        cached = self._run_start(self._placed(start, prompts), deep, start, updates) if len(start.tokens) else []

        def encode(begin: int, end: int) -> Tensor:
            places, runs, read = sentences.part(begin, end)
            x = self._placed(places, prompts).expand(images, -1, -1)
            attend = (PackedAttention if self.layout == "packed" else PaddedAttention)(
                cached, runs, read, causal=self.causal
            )
            return self._run_rests(x, attend, deep, places, read, updates)

        return encode

    def _placed(self, places: Places, prompts: TextPrompts | None) -> Tensor:
        """Return embeddings (P, L, d_t) of places, with context vectors in their slots; P = B if per image, else 1."""
        placed: Tensor = self._filled(places, prompts) + self.module.positional_embedding[places.positions]
        return placed.reshape(-1, *placed.shape[-2:])

    def _deepened(self, x: Tensor, deep: Tensor | None, layer: int, places: Places) -> Tensor:
        """Replace the slots of x (P, L, d_t) by the deep prompts of a layer."""
        if deep is None or not places.filled or not 1 <= layer <= len(deep):
            return x
        return torch.where((places.slots >= 0)[:, None], deep[layer - 1][places.slots.clamp(min=0)], x)

    def _run_start(self, x: Tensor, deep: Tensor | None, places: Places, updates: LowRankUpdates | None) -> KeyValues:
        """Return keys and values (P, H, S, d_t / H), layer by layer, of the common start x (P, S, d_t)."""
        cached: KeyValues = []
        for layer, block in enumerate(self.blocks):
            x = self._deepened(x, deep, layer, places)
            normed = block.normed(x)
            if layer == self.depth - 1:
                cached.append(block.key_value(normed, updates))
                break
            query, key, value = block.query_key_value(normed, updates)
            cached.append((key, value))
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = block.finish(x, attended)
        return cached

    def _run_rests(
        self,
        x: Tensor,
        attend: RestAttention,
        deep: Tensor | None,
        places: Places,
        read: Tensor,
        updates: LowRankUpdates | None,
    ) -> Tensor:
        """Return features (P, C, D) of rests x (P, L, d_t), the last layer run at `read` (C,) only."""
        for layer, block in enumerate(self.blocks):
            x = self._deepened(x, deep, layer, places)
            normed = block.normed(x)
            if layer < self.depth - 1:
                query, key, value = block.query_key_value(normed, updates)
            else:
                key, value = block.key_value(normed, updates)
                query, x = block.query(normed.index_select(1, read), updates), x.index_select(1, read)
            x = block.finish(x, attend(layer, query, key, value))
        return self.head(x)
