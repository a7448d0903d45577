"""Attention that the output token pays to prompts, at every layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.analysis.norms import prompted_layers
from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.packing import arrange
from vlprompt.backbones.tracing import text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts, VisualPrompts

SENTENCES = 64  # per forward pass


@dataclass(frozen=True)
class Attention:
    """Attention of the output token, averaged over heads and over images or classes.

    Attributes:
        reader: Output token, "class token" or "end token".
        to_prompts: Share of each of the n prompts at every layer, with shape (layers, n).
        shares: Share of each kind of token at every layer, prompts first; the shares of a layer add up to 1.
        even: Share of all prompts under uniform attention.
        own: Number J of layers that insert prompts; later layers process the outputs of the last ones.
    """

    reader: str
    to_prompts: tuple[tuple[float, ...], ...]
    shares: dict[str, tuple[float, ...]]
    even: float
    own: int


@torch.no_grad()
def image_attention(tower: ViTTower, prompts: VisualPrompts, batches: Iterable[Tensor]) -> Attention:
    """Return the attention of the class token on batches of images (B, 3, S, S)."""
    n, start = len(prompts.context), tower.prompt_start(prompts)
    weights, count = torch.zeros(()), 0
    for images in batches:
        steps = vision_steps(tower, images, prompts)
        weights = weights + torch.stack([step.weights.mean(1).sum(0).cpu() for step in steps])
        count += len(images)
    mean = weights / count  # (layers, L)
    to_prompts = mean[:, start : start + n]
    shares = {"prompts": to_prompts.sum(1), "class token": mean[:, 0]}
    shares["patches"] = 1 - shares["prompts"] - shares["class token"]
    even, own = n / mean.shape[1], prompted_layers(prompts)
    return Attention("class token", _rows(to_prompts), _lists(shares), even, own)


@torch.no_grad()
def text_attention(tower: ClipTextTower, prompts: TextPrompts, names: Sequence[str]) -> Attention:
    """Return the attention of the end token on the sentences of C classes, for shared or class-specific prompts."""
    n = prompts.length
    tokens, slots = arrange(
        tower.tokenizer, names, length=n, position=prompts.position, frozen_words=prompts.frozen_words
    )
    read = tower.read_position(tokens)
    weights, even = torch.zeros(tower.depth, n + 3), 0.0
    for rows in torch.arange(len(names)).split(SENTENCES):
        part = replace(prompts, context=prompts.context[rows]) if prompts.per == "class" else prompts
        kinds = _kinds(tower, slots[rows], read[rows], n)
        for layer, step in enumerate(text_steps(tower, tokens[rows], slots[rows], part)):
            of_heads = step.weights.mean(1).cpu()  # (C, L)
            weights[layer] += torch.einsum("cl,clk->k", of_heads, kinds[:, : of_heads.shape[1]])
        even += (n / (read[rows] + 1 if tower.causal else torch.full_like(rows, tokens.shape[1]))).sum().item()
    mean = weights / len(names)
    context = mean[:, :n]
    shares = {"prompts": context.sum(1), "start": mean[:, n], "words": mean[:, n + 1], "end": mean[:, n + 2]}
    even, own = even / len(names), prompted_layers(prompts)
    return Attention("end token", _rows(context), _lists(shares), even, own)


def _kinds(tower: ClipTextTower, slots: Tensor, read: Tensor, n: int) -> Tensor:
    """Return the one-hot kind of each token (C, S, n + 3): one of n context vectors, start, word, or the token read."""
    kinds = torch.where(slots >= 0, slots, n + 1)
    if tower.tokenizer.sos is not None:
        kinds[:, 0] = n
    kinds[torch.arange(len(kinds)), read] = n + 2
    return F.one_hot(kinds, n + 3).float()


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def _lists(shares: dict[str, Tensor]) -> dict[str, tuple[float, ...]]:
    return {kind: tuple(values.tolist()) for kind, values in shares.items()}
