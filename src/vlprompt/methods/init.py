"""Initial values of learned vectors, random or from the embeddings of words, and the depth of deep prompts."""

import torch
from torch import Tensor

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError


def random_prompts(*shape: int) -> Tensor:
    """Return prompts of this shape drawn from N(0, 0.02^2), the usual start of vectors without words."""
    return torch.empty(shape).normal_(std=0.02)


def initial_context(backbone: Backbone, length: int, words: str | None) -> Tensor:
    """Return a text context: the embeddings (n, d_t) of `words`, or (length, d_t) from N(0, 0.02^2) without words."""
    if words is None:
        return random_prompts(length, backbone.text.width)
    return backbone.text.words(words.replace("_", " ")).cpu()


def context_and_words(backbone: Backbone, n_ctx: int, ctx_init: str | None) -> tuple[Tensor, str]:
    """Return a text context of `n_ctx` vectors, and the words of `ctx_init` that stay unlearned behind it.

    With deep text prompts n is fixed, so that `ctx_init` does not set the length as in CoOp: its first `n_ctx` tokens
    are learned, and further ones are frozen words. Vectors beyond its tokens start from N(0, 0.02^2). (The released
    code of MaPLe and its followers ignores the words for n > 4, and with fewer words than vectors overwrites the class
    name.)

    Returns:
        the context, tensor with shape (n_ctx, d_t), and the frozen words.

    Raises:
        VLPromptError: `n_ctx` ends inside a word whose rest is not text.
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
    """Return the number of layers with prompts, J.

    Args:
        option: name of the option, for the message.
        depth: the option's value; None for the usual depth, or all layers if there are fewer.
        usual: depth in the paper.
        layers: number of layers of the tower.

    Raises:
        VLPromptError: the tower has fewer layers than `depth`.
    """
    if depth is None:
        return min(usual, layers)
    if depth > layers:
        raise VLPromptError(f"method.{option}={depth}: the tower has {layers} layers; use 1 to {layers}")
    return depth
