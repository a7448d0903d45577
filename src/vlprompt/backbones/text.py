"""Text tower that runs prompts without redundant computation; its features are exact.

A causal tower is pooled at one token, so tokens after it are never computed. The common start of all sentences (start
token, context, template words) does not attend to what follows, so its keys and values are computed once for all
classes, at every layer, including deep prompts. The rests of the sentences are concatenated without padding.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlprompt.backbones.block import Block, softmax
from vlprompt.backbones.packing import Places, Sentences, arrange, lay_out
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.prompts import LowRankUpdates, TextPrompts

KeyValues = list[tuple[Tensor, Tensor]]
Runs = list[tuple[int, int]]


class TextTower:
    """Frozen CLIP text transformer that accepts prompts.

    Attributes:
        module: the loaded open_clip text tower, whose weights are used without a copy.
        blocks: its transformer blocks, first layer first.
        tokenizer: its tokenizer.
        width: width of token embeddings and context vectors, d_t.
        embed_dim: joint dimension of its features, D.
        depth: number of layers.
        context_length: maximum number of tokens.
        causal: whether tokens attend only to earlier ones. A bidirectional tower (SigLIP) shares no common start.
        chunk_size: number of sentences per pass. With gradients enabled, several chunks are recomputed in the backward
            pass, which bounds memory. None runs all sentences at once, for any number of images.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        tower: Any = getattr(model, "text", model)
        self.module = tower
        self.blocks = [Block(block, layer) for layer, block in enumerate(tower.transformer.resblocks)]
        self._pool: str = getattr(tower, "pool_type", None) or tower.text_pool_type
        self._eos: int | None = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))
        self.tokenizer = tokenizer
        self.causal: bool = tower.attn_mask is not None
        self.width: int = tower.token_embedding.weight.shape[1]
        self.depth = len(self.blocks)
        projection = tower.text_projection
        if isinstance(projection, nn.Linear):
            self.embed_dim: int = projection.out_features
        else:
            self.embed_dim = self.width if projection is None else projection.shape[1]
        self.context_length: int = tower.positional_embedding.shape[0]
        self.chunk_size: int | None = 256
        self._cache_sentences()

    def __getstate__(self) -> dict[str, Any]:
        # scikit-learn pickles fitted estimators to send them to other processes; a cache cannot be pickled.
        return {name: value for name, value in self.__dict__.items() if name != "_sentences"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache_sentences()

    def _cache_sentences(self) -> None:
        self._sentences = lru_cache(maxsize=16)(self._arranged)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = self.module.token_embedding.weight.device
        return device

    @property
    def vocabulary(self) -> Tensor:
        """Embeddings (V, d_t), fp32, of all V tokens; zero for tokens missing from the weights."""
        table: Tensor = self.module.token_embedding.weight
        return table.float()

    @cached_property
    def _unknown(self) -> frozenset[int]:
        known = self.module.token_embedding.weight.any(-1)
        return frozenset((~known).nonzero()[:, 0].tolist())

    def reading(self, text: str) -> tuple[int, ...]:
        """Return what the tower reads of a text: its tokens, with -1 for those that are missing from the weights.

        Texts with equal readings have equal features.
        """
        return tuple(-1 if token in self._unknown else token for token in self.tokenizer.encode(text))

    def words(self, text: str) -> Tensor:
        """Return token embeddings (n, d_t), fp32, of a text without special tokens, which initialize a context."""
        tokens = torch.tensor(self.tokenizer.encode(text), dtype=torch.long, device=self.device)
        return self.embed(tokens).float()

    def __call__(self, tokens: Tensor, updates: LowRankUpdates | None = None) -> Tensor:
        """Return features of token sentences.

        With dropout in the updates, the common start of the sentences is computed once, under one mask for all.

        Args:
            tokens: tensor with shape (N, context_length), from `tokenizer`.
            updates: low-rank updates of the attention, or None for the frozen tower.

        Returns:
            tensor with shape (N, D), fp32, not normalized.
        """
        tokens = tokens.cpu()
        return self._run(self._sentences_of(tokens, torch.full_like(tokens, -1), share_slots=True), None, updates)

    def encode_prompts(
        self, prompts: TextPrompts, names: Sequence[str], updates: LowRankUpdates | None = None
    ) -> Tensor:
        """Return features of the prompted sentence of every class.

        Args:
            prompts: context vectors, shallow or deep.
            names: C class names as words.
            updates: low-rank updates of the attention, or None.

        Returns:
            tensor with shape (C, D), or (B, C, D) for a context per image; fp32, not normalized.

        Raises:
            VLPromptError: a name is too long to fit next to the prompts.
        """
        return self._run(self._prompted(prompts, names), prompts, updates)

    def check_names(self, prompts: TextPrompts, names: Sequence[str]) -> None:
        """Raise VLPromptError, naming the class, if a name is too long to fit next to the prompts."""
        self._prompted(prompts, names)

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

    def _prompted(self, prompts: TextPrompts, names: Sequence[str]) -> Sentences:
        return self._sentences(
            tuple(names), prompts.length, prompts.position, prompts.frozen_words, prompts.per == "class", self.device
        )

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
        return lay_out(tokens, slots, self.read_position(tokens), causal=self.causal, share_slots=share_slots)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return embeddings (..., d_t) of tokens (...), without positions, in the dtype of the tower."""
        embedded: Tensor = self.module.token_embedding(tokens)
        return embedded.to(self.module.positional_embedding.dtype)

    def _run(self, sentences: Sentences, prompts: TextPrompts | None, updates: LowRankUpdates | None) -> Tensor:
        """Return features (C, D) or (B, C, D) of C sentences."""
        if updates is not None:
            updates.check(self.depth, self.width)
        sentences = sentences.to(self.device)
        start, total = sentences.start, len(sentences.lengths)
        images = prompts.context.shape[0] if prompts is not None and prompts.per == "image" else 1
        deep = None if prompts is None or prompts.deep is None else prompts.deep.to(self._dtype)
        cached = self._run_start(self._placed(start, prompts), deep, start, updates) if len(start.tokens) else []

        def run_part(begin: int, end: int) -> Tensor:
            places, runs, read = sentences.part(begin, end)
            x = self._placed(places, prompts).expand(images, -1, -1)
            return self._run_rests(x, cached, deep, places, runs, read, updates)

        # An exported graph has one chunk, since its number of images is symbolic and cannot bound a loop.
        chunk = None if torch.compiler.is_compiling() else self.chunk_size
        step = total if chunk is None else max(1, chunk // images)
        bounds = [(begin, min(begin + step, total)) for begin in range(0, total, step)]
        if len(bounds) > 1 and torch.is_grad_enabled():
            features = torch.cat([checkpoint(run_part, *bound, use_reentrant=False) for bound in bounds], dim=1)
        else:
            features = torch.cat([run_part(*bound) for bound in bounds], dim=1)
        features = features[:, sentences.ranks]
        return features if prompts is not None and prompts.per == "image" else features[0]

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.module.positional_embedding.dtype
        return dtype

    def _placed(self, places: Places, prompts: TextPrompts | None) -> Tensor:
        """Return embeddings (P, L, d_t) of places, with context vectors in their slots; P = B if per image, else 1."""
        x = self.embed(places.tokens)
        if prompts is not None and places.filled:
            slots, context = places.slots.clamp(min=0), prompts.context.to(self._dtype)
            vectors = context[places.classes, slots] if prompts.per == "class" else context[..., slots, :]
            x = torch.where((places.slots >= 0)[:, None], vectors, x)
        placed: Tensor = x + self.module.positional_embedding[places.positions]
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
            attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = block.finish(x, attended)
        return cached

    def _run_rests(
        self,
        x: Tensor,
        cached: KeyValues,
        deep: Tensor | None,
        places: Places,
        runs: Runs,
        read: Tensor,
        updates: LowRankUpdates | None,
    ) -> Tensor:
        """Return features (P, C, D) of rests x (P, L, d_t), the last layer run at `read` (C,) only."""
        for layer, block in enumerate(self.blocks):
            x = self._deepened(x, deep, layer, places)
            normed = block.normed(x)
            start = cached[layer] if cached else None
            if layer < self.depth - 1:
                query, key, value = block.query_key_value(normed, updates)
                x = block.finish(x, self._attend(query, key, value, start, runs))
            else:
                key, value = block.key_value(normed, updates)
                query = block.query(normed[:, read], updates)
                x = block.finish(x[:, read], self._attend(query, key, value, start, runs))
        return self.head(x)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, start: tuple[Tensor, Tensor] | None, runs: Runs
    ) -> Tensor:
        """Return attention (P, H, Q, d) from each rest to itself and to the common start.

        Args:
            query: (P, H, Q, d) at every place, Q = L, or only at the pooled place of each rest, Q = C.
            key, value: (P, H, L, d).
            start: keys and values (P, H, S, d) of the start, not copied per class; one softmax covers both.
            runs: (count, length) of rests of equal length, which are batched.
        """
        query = query * query.shape[-1] ** -0.5
        every_place = query.shape[2] == key.shape[2]
        queries = [(count, length if every_place else 1) for count, length in runs]
        asked = [count * places for count, places in queries]
        there = [count * length for count, length in runs]
        to_start = [None] * len(runs) if start is None else (query @ start[0].transpose(-1, -2)).split(asked, 2)
        attended, start_weights = [], []
        parts = zip(
            runs, queries, query.split(asked, 2), key.split(there, 2), value.split(there, 2), to_start, strict=True
        )
        for run, shape, q, k, v, scores_to_start in parts:
            scores = q.unflatten(2, shape) @ k.unflatten(2, run).transpose(-1, -2)  # (P, H, count, places, length)
            if self.causal and shape[1] > 1:
                later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
                scores = scores.masked_fill(later, float("-inf"))
            if scores_to_start is not None:
                scores = torch.cat([scores_to_start.unflatten(2, shape), scores], dim=-1)
            weights = softmax(scores)
            start_weights.append(weights[..., : -run[1]].flatten(2, 3))
            attended.append((weights[..., -run[1] :] @ v.unflatten(2, run)).flatten(2, 3))
        joined = torch.cat(attended, 2)
        return joined if start is None else joined + torch.cat(start_weights, 2) @ start[1]
