"""Initialization of prompts, random or from word embeddings, and the depth of deep prompts."""

import torch
from torch import Tensor

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError


def random_prompts(*shape: int) -> Tensor:
    """Return prompts of the given shape drawn from N(0, 0.02^2)."""
    return torch.empty(shape).normal_(std=0.02)


def initial_context(backbone: Backbone, length: int, words: str | None) -> Tensor:
    """Return a text context: embeddings (n, d_t) of `words`, or (length, d_t) from N(0, 0.02^2) if None."""
    if words is None:
        return random_prompts(length, backbone.text.width)
    return backbone.text.words(words.replace("_", " ")).cpu()


def context_and_words(backbone: Backbone, n_ctx: int, ctx_init: str | None) -> tuple[Tensor, str]:
    """Return a text context of `n_ctx` vectors, and the remaining words of `ctx_init`, which stay frozen.

    With deep text prompts n is fixed, so `ctx_init` does not set the length as in CoOp: its first `n_ctx` tokens are
    learned, and the rest are frozen words. Vectors beyond its tokens are drawn from N(0, 0.02^2). (The released code of
    MaPLe and its followers ignores the words for n > 4, and overwrites the class name with fewer words than vectors.)

    Returns:
        The context, tensor with shape (n_ctx, d_t), and the frozen words.

    Raises:
        VLPromptError: `n_ctx` ends inside a word whose remaining tokens are not text by themselves.
    """
    if not ctx_init:
        return initial_context(backbone, n_ctx, None), ""
    text = ctx_init.replace("_", " ").strip()
    embedded = initial_context(backbone, n_ctx, text)
    context = torch.cat([embedded[:n_ctx], random_prompts(max(0, n_ctx - len(embedded)), backbone.text.width)])
    encode = backbone.text.tokenizer.encode
    rest = encode(text)[n_ctx:]
    for begin in range(len(text) + 1):
        if encode(text[begin:]) == rest:
            return context, text[begin:].strip()
    raise VLPromptError(
        f"{n_ctx} context vectors end inside a word of ctx_init={ctx_init!r}; use another length or other words"
    )


def prompt_depth(option: str, depth: int | None, usual: int, layers: int) -> int:
    """Return the number of prompted layers, J.

    Args:
        option: name of the option, for the message.
        depth: value of the option; None for `usual`, or all layers if there are fewer.
        usual: depth in the paper.
        layers: number of layers of the tower.

    Raises:
        VLPromptError: the tower has fewer layers than `depth`.
    """
    if depth is None:
        return min(usual, layers)
    if depth > layers:
        raise VLPromptError(f"method.{option} must be at most {layers}, the number of layers of the tower, got {depth}")
    return depth
