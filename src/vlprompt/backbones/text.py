"""The text tower, and the two exact ideas that make prompts in it cheap.

A causal tower is read at one token, so tokens behind it are never computed; and tokens that open every sentence
(start, context, words of a template) see nothing of what follows, so their keys and values are computed once for all
classes, at every layer, deep prompts included.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlprompt.backbones.block import Block, softmax
from vlprompt.backbones.sentences import Sentences, arrange, common_start
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.prompts import TextPrompts

KeyValues = list[tuple[Tensor, Tensor]]


class TextTower:
    """A frozen CLIP text transformer that runs with prompts.

    Attributes:
        width: d_t, the width of token embeddings and context vectors.
        embed_dim: D, the joint dimension that its features are projected to.
        depth: number of layers.
        causal: whether a token sees only what stands before it. A bidirectional tower (SigLIP) shares nothing.
        chunk_size: how many sentences are run at once. With more of them and gradients on, each chunk is computed
            again in the backward pass, so that memory stays bounded.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        tower: Any = getattr(model, "text", model)
        self._tower = tower
        self._blocks = [Block(block) for block in tower.transformer.resblocks]
        self._pool: str = getattr(tower, "pool_type", None) or tower.text_pool_type
        self._eos: int | None = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))
        self.tokenizer = tokenizer
        self.causal: bool = tower.attn_mask is not None
        self.width: int = tower.token_embedding.weight.shape[1]
        self.depth = len(self._blocks)
        projection = tower.text_projection
        if isinstance(projection, nn.Linear):
            self.embed_dim: int = projection.out_features
        else:
            self.embed_dim = self.width if projection is None else projection.shape[1]
        self.context_length: int = tower.positional_embedding.shape[0]
        self.chunk_size = 256
        self._sentences = lru_cache(maxsize=16)(self._arranged)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self._tower.token_embedding.weight.device
        return device

    def words(self, text: str) -> Tensor:
        """Token embeddings (n, d_t), fp32, of a text without its special tokens; what `ctx_init` starts from."""
        tokens = torch.tensor(self.tokenizer.encode(text), device=self.device)
        return self._embed(tokens).float()

    def __call__(self, tokens: Tensor) -> Tensor:
        """Features (N, D), fp32, not normalised, of token sentences (N, context length)."""
        tokens = tokens.cpu()
        return self._run(self._sentences_of(tokens, torch.full_like(tokens, -1), share_slots=True), None)

    def encode_prompts(self, prompts: TextPrompts, names: Sequence[str]) -> Tensor:
        """Features, fp32, not normalised, of the prompted sentence of every class.

        Args:
            prompts: n context vectors, deep ones with them.
            names: C class names as words.

        Returns:
            tensor with shape (C, D), or (B, C, D) where there is a context per image.
        """
        sentences = self._sentences(
            tuple(names), prompts.length, prompts.position, prompts.frozen_words, prompts.per == "class", self.device
        )
        return self._run(sentences, prompts)

    def read_position(self, tokens: Tensor) -> Tensor:
        """Position (N,) of the token whose feature stands for a sentence of tokens (N, S)."""
        if self._pool == "argmax":
            return tokens.argmax(-1)
        if self._pool == "eos":
            return tokens.eq(-1 if self._eos is None else self._eos).int().argmax(-1)
        position = 0 if self._pool == "first" else tokens.shape[1] - 1
        return torch.full((len(tokens),), position)

    def head(self, x: Tensor) -> Tensor:
        """Features (..., D), fp32, of what the last layer gave at the token read (..., d_t)."""
        x = self._tower.ln_final(x)
        projection = self._tower.text_projection
        if isinstance(projection, nn.Linear):
            x = projection(x)
        elif projection is not None:
            x = x @ projection
        features: Tensor = x.float()
        return features

    def _arranged(
        self,
        names: tuple[str, ...],
        length: int,
        position: str,
        frozen_words: str,
        per_class: bool,
        device: torch.device,
    ) -> Sentences:
        tokens, slots = arrange(self.tokenizer, names, length=length, position=position, frozen_words=frozen_words)
        return self._sentences_of(tokens, slots, share_slots=not per_class).to(device)

    def _sentences_of(self, tokens: Tensor, slots: Tensor, *, share_slots: bool) -> Sentences:
        read = self.read_position(tokens)
        if not self.causal:
            return Sentences(tokens, slots, read, 0)
        end = int(read.max()) + 1
        tokens, slots = tokens[:, :end], slots[:, :end]
        return Sentences(tokens, slots, read, common_start(tokens, slots, read, share_slots=share_slots))

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self._tower.token_embedding(tokens)
        return embedded.to(self._tower.positional_embedding.dtype)

    def _run(self, sentences: Sentences, prompts: TextPrompts | None) -> Tensor:
        """Features (C, D) or (B, C, D) of C sentences."""
        sentences = sentences.to(self.device)
        dtype = self._tower.positional_embedding.dtype
        context = deep = None
        if prompts is not None:
            context = prompts.context.to(dtype)
            deep = None if prompts.deep is None else prompts.deep.to(dtype)
        per_image = prompts is not None and prompts.per == "image"
        images = len(prompts.context) if prompts is not None and per_image else 1

        shared = sentences.shared
        cached: KeyValues = []
        if shared:
            slots = sentences.slots[:1, :shared]
            own_context = prompts is not None and prompts.per == "class"
            start = self._placed(self._embed(sentences.tokens[:1, :shared]), None if own_context else context, slots)
            cached = self._run_start(start + self._tower.positional_embedding[:shared], deep, slots)

        def rest(begin: int, end: int) -> Tensor:
            tokens, slots = sentences.tokens[begin:end, shared:], sentences.slots[begin:end, shared:]
            own = context
            if prompts is not None and prompts.per == "class":
                own = prompts.context[begin:end, None].to(dtype)
            x = self._placed(self._embed(tokens), own, slots)
            x = x + self._tower.positional_embedding[shared : shared + tokens.shape[1]]
            return self._run_rest(x, cached, deep, slots, sentences.read[begin:end] - shared)

        total = len(sentences.tokens)
        step = max(1, self.chunk_size // images)
        bounds = [(begin, min(begin + step, total)) for begin in range(0, total, step)]
        if len(bounds) > 1 and torch.is_grad_enabled():
            features = torch.cat([checkpoint(rest, *bound, use_reentrant=False) for bound in bounds], dim=1)
        else:
            features = torch.cat([rest(*bound) for bound in bounds], dim=1)
        return features if per_image else features[0]

    def _placed(self, x: Tensor, context: Tensor | None, slots: Tensor) -> Tensor:
        """Sentences x (C, S, d_t) with context vectors in their slots: (P, C, S, d_t), P = B per image, else 1.

        Context has shape (n, d_t), (B, n, d_t) per image or (C, 1, n, d_t) per class.
        """
        if context is None:
            return x[None]
        index = slots.clamp(min=0)
        if context.ndim == 4:
            vectors = context[torch.arange(len(context), device=x.device)[:, None], 0, index]
        else:
            vectors = context[..., index, :]
        return torch.where((slots >= 0)[..., None], vectors, x).reshape(-1, *x.shape)

    def _deepened(self, x: Tensor, deep: Tensor | None, layer: int, slots: Tensor) -> Tensor:
        """x (P, C, S, d_t) with the deep prompts of a layer, 1 or later, in the slots."""
        if deep is None or not 1 <= layer <= len(deep):
            return x
        return torch.where((slots >= 0)[..., None], deep[layer - 1][slots.clamp(min=0)], x)

    def _run_start(self, x: Tensor, deep: Tensor | None, slots: Tensor) -> KeyValues:
        """Keys and values (P, H, S, d_t / H) at every layer of the start x (P, 1, S, d_t) that sentences share."""
        cached: KeyValues = []
        x = x[:, 0]
        for layer, block in enumerate(self._blocks):
            x = self._deepened(x, deep, layer, slots[0])
            normed = block.normed(x)
            if layer == self.depth - 1:
                cached.append(block.key_value(normed))
                break
            query, key, value = block.query_key_value(normed)
            cached.append((key, value))
            attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = block.finish(x, attended)
        return cached

    def _run_rest(self, x: Tensor, cached: KeyValues, deep: Tensor | None, slots: Tensor, read: Tensor) -> Tensor:
        """Features (P, C, D) of sentences x (P, C, S, d_t) behind a shared start; only `read` in the last layer."""
        places = torch.arange(x.shape[2], device=x.device)
        hidden = places[None, None, :] > (places[None, :, None] if self.causal else len(places))  # (1, S, S)
        read_rows = torch.arange(x.shape[1], device=x.device)
        for layer, block in enumerate(self._blocks):
            x = self._deepened(x, deep, layer, slots)
            normed = block.normed(x)
            if layer == self.depth - 1:
                key, value = block.key_value(normed)
                query = block.query(normed[:, read_rows, read, None])  # (P, C, H, 1, d_t / H)
                x = x[:, read_rows, read, None]
                hidden = places[None, None, :] > (read[:, None, None] if self.causal else len(places))  # (C, 1, S)
            else:
                query, key, value = block.query_key_value(normed)
            x = block.finish(x, self._attend(query, key, value, cached[layer] if cached else None, hidden))
        return self.head(x[:, :, 0])

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, start: tuple[Tensor, Tensor] | None, hidden: Tensor
    ) -> Tensor:
        """Attention of query (P, C, H, Q, d) to the sentence's own key (P, C, H, S, d) and the shared start.

        One softmax goes over both; the start's keys and values (P, H, S', d) are not copied per class.
        """
        query = query * query.shape[-1] ** -0.5
        own = (query @ key.transpose(-1, -2)).masked_fill(hidden[None, :, None], float("-inf"))
        if start is None:
            return softmax(own) @ value
        start_key, start_value = start
        by_head = query.transpose(1, 2)  # (P, H, C, Q, d)
        rows = by_head.flatten(2, 3)
        to_start = (rows @ start_key.transpose(-1, -2)).unflatten(2, by_head.shape[2:4]).transpose(1, 2)
        weights = softmax(torch.cat([to_start, own], dim=-1))
        to_start, own = weights.split([start_key.shape[-2], key.shape[-2]], dim=-1)
        gathered = (to_start.transpose(1, 2).flatten(2, 3) @ start_value).unflatten(2, by_head.shape[2:4])
        attended: Tensor = own @ value + gathered.transpose(1, 2)
        return attended
