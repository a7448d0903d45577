"""Transformer block of a loaded model, in steps, so that a tower can skip unneeded computation."""

from typing import Any

import open_clip.transformer as clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates


class Block:
    """Pre-LN residual attention block: x + attention(ln_1 x), then + mlp(ln_2 x).

    It views the weights of an open_clip block (no copies), including layer scale, query-key norm, head scale and inner
    norms.

    Args:
        block: the open_clip block.
        layer: index of the block in the tower, which selects its low-rank updates.

    Raises:
        VLPromptError: the attention is not supported.
    """

    def __init__(self, block: nn.Module, layer: int) -> None:
        attention = block.attn
        if not isinstance(attention, nn.MultiheadAttention | clip.Attention):
            raise VLPromptError(f"attention {type(attention).__name__} is not supported; use a CLIP-style transformer")
        if getattr(attention, "logit_scale", None) is not None:
            raise VLPromptError("scaled cosine attention is not supported; use a backbone without it")
        self.layer = layer
        self._block: Any = block
        self._attention: Any = attention
        self.heads: int = attention.num_heads
        self._norm_query: Any = getattr(attention, "ln_q", nn.Identity())
        self._norm_key: Any = getattr(attention, "ln_k", nn.Identity())
        self._norm_inner: Any = getattr(attention, "ln_inner", nn.Identity())
        self._norm_attended: Any = getattr(block, "ln_attn", nn.Identity())

    def _project(self, x: Tensor, updates: LowRankUpdates | None, first: int, count: int) -> list[Tensor]:
        """Return parts `first` .. `first + count` of (query, key, value) of x (..., L, d), each (..., H, L, d / H)."""
        width = x.shape[-1]
        rows = slice(first * width, (first + count) * width)
        bias = self._attention.in_proj_bias
        y = F.linear(x, self._attention.in_proj_weight[rows], None if bias is None else bias[rows])
        if updates is not None:
            y = y + self._low_rank(x, updates, slice(first, first + count))
        parts = y.unflatten(-1, (count, self.heads, width // self.heads)).unbind(-3)  # (..., L, H, d / H) each
        return [part.transpose(-2, -3) for part in parts]

    def _low_rank(self, x: Tensor, updates: LowRankUpdates, parts: slice) -> Tensor:
        """Return the low-rank term of the given parts of (query, key, value), concatenated, for x (..., L, d)."""
        down, up = updates.down[self.layer, parts].to(x.dtype), updates.up[self.layer, parts].to(x.dtype)
        low = F.linear(F.dropout(x, updates.dropout), down.flatten(0, 1))  # (..., L, parts * r)
        # Block-diagonal, so that one product gives every part its own r columns.
        return updates.scale * F.linear(low, torch.block_diag(*up))

    def normed(self, x: Tensor) -> Tensor:
        """Return the input of the attention, ln_1 x, with the shape of x."""
        out: Tensor = self._block.ln_1(x)
        return out

    def query(self, normed: Tensor, updates: LowRankUpdates | None = None) -> Tensor:
        """Return queries (..., H, L, d / H) of normed (..., L, d)."""
        out: Tensor = self._norm_query(self._project(normed, updates, 0, 1)[0])
        return out

    def key_value(self, normed: Tensor, updates: LowRankUpdates | None = None) -> tuple[Tensor, Tensor]:
        """Return keys and values, each (..., H, L, d / H), of normed (..., L, d)."""
        key, value = self._project(normed, updates, 1, 2)
        return self._norm_key(key), value

    def query_key_value(self, normed: Tensor, updates: LowRankUpdates | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of normed (..., L, d), computed in one matrix product."""
        query, key, value = self._project(normed, updates, 0, 3)
        return self._norm_query(query), self._norm_key(key), value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Run the rest of the block for x (..., L, d), given the attended values (..., H, L, d / H)."""
        block, attention = self._block, self._attention
        scale = getattr(attention, "head_scale", None)
        if scale is not None:
            attended = attended * scale
        joined = attention.out_proj(self._norm_inner(attended.transpose(-2, -3).flatten(-2)))
        x = x + block.ls_1(self._norm_attended(joined))
        out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
        return out


def softmax(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension, computed in fp32, in the dtype of the scores."""
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
