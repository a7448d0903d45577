"""Both towers as the published code runs them: 77 tokens for every class, every block for every token, nothing shared.

They run the loaded blocks as modules and insert deep prompts by concatenation. With them in place of this project's
towers a method computes the same loss the slow way. The tests' oracle is written to be obvious and loops over classes;
these towers are written to be as fast as the published code, so that the comparison is fair.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt import Backbone, TextPrompts, VisualPrompts
from vlprompt.backbones.packing import arrange
from vlprompt.methods.base import Method
from vlprompt.prompts import LowRankUpdates


class PlainTextTower:
    """The text tower at full length. Sentences without prompts use our tower, since both paths encode them once."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self._embedded = lru_cache(maxsize=1)(self._embed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tower, name)

    def __call__(self, tokens: Tensor, updates: LowRankUpdates | None = None) -> Tensor:
        if updates is None:
            return self._tower(tokens)
        module = self._tower.module
        x = module.token_embedding(tokens) + module.positional_embedding
        for block in self._tower.blocks:
            query, key, value = block.query_key_value(block.normed(x), updates)
            x = block.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
        return self._read(x, self._tower.read_position(tokens))

    def encode_texts(self, texts: Sequence[str], updates: LowRankUpdates | None = None) -> Tensor:
        """Return features (N, D) of texts, which are tokenized in each call."""
        return self(self._tower.tokenizer(list(texts)), updates)

    def encode_prompts(
        self, prompts: TextPrompts, names: Sequence[str], updates: LowRankUpdates | None = None
    ) -> Tensor:
        """Return features (C, D), or (B, C, D) by a loop over the images of per-image contexts."""
        assert prompts.position == "end" and updates is None
        embedded, read = self._embedded(tuple(names), prompts.length, prompts.frozen_words)
        if prompts.per != "image":
            return self._sentences(embedded, read, prompts.context, prompts.deep)
        return torch.stack([self._sentences(embedded, read, context, None) for context in prompts.context])

    def _embed(self, names: tuple[str, ...], length: int, words: str) -> tuple[Tensor, Tensor]:
        tokens, _ = arrange(self._tower.tokenizer, names, length=length, position="end", frozen_words=words)
        return self._tower.module.token_embedding(tokens), self._tower.read_position(tokens)

    def _sentences(self, embedded: Tensor, read: Tensor, context: Tensor, deep: Tensor | None) -> Tensor:
        module = self._tower.module
        x = with_vectors(embedded, context, 1) + module.positional_embedding
        for layer, block in enumerate(module.transformer.resblocks):
            if deep is not None and 1 <= layer <= len(deep):
                x = with_vectors(x, deep[layer - 1], 1)
            x = block(x, attn_mask=module.attn_mask)
        return self._read(x, read)

    def _read(self, x: Tensor, read: Tensor) -> Tensor:
        module = self._tower.module
        return (module.ln_final(x)[torch.arange(len(x)), read] @ module.text_projection).float()


class PlainVisionTower:
    """CLIP's vision transformer with every block for every token."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tower, name)

    def __call__(
        self, images: Tensor, prompts: VisualPrompts | None = None, updates: LowRankUpdates | None = None
    ) -> Tensor:
        module = self._tower.module
        patches = module.conv1(images.to(module.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        classes = module.class_embedding.expand(len(images), 1, -1)
        x = torch.cat([classes, patches], dim=1) + module.positional_embedding
        start = x.shape[1] if prompts is None or prompts.position == "append" else 1
        if prompts is None:
            x = module.ln_pre(x)
        elif prompts.before_ln_pre:
            x = module.ln_pre(with_vectors(x, prompts.context, start, over=0))
        else:
            x = with_vectors(module.ln_pre(x), prompts.context, start, over=0)
        deep = None if prompts is None else prompts.deep
        for layer, (block, view) in enumerate(zip(module.transformer.resblocks, self._tower.blocks, strict=True)):
            if deep is not None and 1 <= layer <= len(deep):
                x = with_vectors(x, deep[layer - 1], start)
            if updates is None:
                x = block(x)
            else:
                query, key, value = view.query_key_value(view.normed(x), updates)
                x = view.finish(x, F.scaled_dot_product_attention(query, key, value))
        return (module.ln_post(x)[:, 0] @ module.proj).float()


def with_vectors(x: Tensor, vectors: Tensor, start: int, over: int | None = None) -> Tensor:
    """Replace `over` tokens (default n) of x (N, L, d) from `start` on with vectors (n, d) or (N, n, d)."""
    vectors = vectors.to(x.dtype).expand(len(x), -1, -1)
    end = start + (vectors.shape[1] if over is None else over)
    return torch.cat([x[:, :start], vectors, x[:, end:]], dim=1)


def plain_backbone(backbone: Backbone) -> Backbone:
    """Return the same frozen model behind plain towers."""
    plain: Any = copy(backbone)
    plain.text, plain.vision = PlainTextTower(backbone.text), PlainVisionTower(backbone.vision)
    return plain


@contextmanager
def on(method: Method[Any], backbone: Backbone) -> Iterator[None]:
    """Run a method on the towers of another view of its backbone."""
    own = method.backbone
    text, vision = own.text, own.vision
    own.text, own.vision = backbone.text, backbone.vision
    try:
        yield
    finally:
        own.text, own.vision = text, vision
