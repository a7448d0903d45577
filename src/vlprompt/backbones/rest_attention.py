"""Attention from the rest of each sentence to itself and to the common start, in the two layouts of the sentences."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.block import softmax

KeyValues = list[tuple[Tensor, Tensor]]


class RestAttention(ABC):
    """Attention of a tower's layers, for the rests of C sentences.

    Args:
        start: keys and values (P, H, S, d) of the common start, layer by layer; empty without one.
        runs: (count, length) of rests of equal length, in order.
        read: index of the pooled place of each rest among the places of all (C,).
        causal: whether places attend only to earlier ones.
    """

    def __init__(self, start: KeyValues, runs: list[tuple[int, int]], read: Tensor, *, causal: bool) -> None:
        self._start = start
        self._runs = runs
        self._read = read
        self._causal = causal

    @abstractmethod
    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attended values (P, H, Q, d).

        Args:
            layer: index of the layer.
            query: (P, H, Q, d) at each of the L places of the rests, Q = L, or only at the pooled ones, Q = C.
            key, value: (P, H, L, d).
        """


class PackedAttention(RestAttention):
    """Attention of rests without padding: one pass for each length, and keys of the start that are not copied."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attended values (P, H, Q, d); one softmax covers the start and the rest."""
        start, runs = self._start[layer] if self._start else None, self._runs
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
            if self._causal and shape[1] > 1:
                later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
                scores = scores.masked_fill(later, float("-inf"))
            if scores_to_start is not None:
                scores = torch.cat([scores_to_start.unflatten(2, shape), scores], dim=-1)
            weights = softmax(scores)
            start_weights.append(weights[..., : -run[1]].flatten(2, 3))
            attended.append((weights[..., -run[1] :] @ v.unflatten(2, run)).flatten(2, 3))
        joined = torch.cat(attended, 2)
        return joined if start is None else joined + torch.cat(start_weights, 2) @ start[1]


class PaddedAttention(RestAttention):
    """Attention of rests that are padded to one length: a single fused pass, with the keys of the start copied."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attended values (P, H, Q, d)."""
        ((count, length),) = self._runs
        images, pooled = query.shape[0], query.shape[2] != key.shape[2]
        # (P, H, C * n, d) to (P * C, H, n, d)
        query, key, value = (x.unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1) for x in (query, key, value))
        if self._start:
            before = (x[:, None].expand(images, count, -1, -1, -1).flatten(0, 1) for x in self._start[layer])
            key, value = (torch.cat(parts, 2) for parts in zip(before, (key, value), strict=True))
        mask = self._mask(key.shape[2] - length, length, query.dtype, images, pooled=pooled) if self._causal else None
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        # Back to (P, H, C * n, d), in the order in which `Block.finish` joins the heads, so that it needs no copy.
        return attended.transpose(1, 2).reshape(images, -1, *attended.shape[1::2]).transpose(1, 2)

    def _mask(self, start: int, length: int, dtype: torch.dtype, images: int, *, pooled: bool) -> Tensor:
        """Return what is added to the scores of each query over the start and the rest; -inf for later places."""
        mask = torch.full((length, start + length), float("-inf"), dtype=dtype, device=self._read.device)
        mask = mask.triu(start + 1)
        return mask[self._read % length].repeat(images, 1)[:, None, None] if pooled else mask
