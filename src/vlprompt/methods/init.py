"""Where learned vectors start from: noise, or the embeddings of words."""

import torch
from torch import Tensor

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import check_depth


def random_prompts(*shape: int) -> Tensor:
    """Prompts of that shape from N(0, 0.02^2), the usual start of all that has no words to start from."""
    return torch.empty(shape).normal_(std=0.02)


def initial_context(backbone: Backbone, length: int, words: str | None) -> Tensor:
    """Start of a text context: N(0, 0.02^2) with shape (length, d_t), or the embeddings of `words`."""
    if words is None:
        return random_prompts(length, backbone.text.width)
    return backbone.text.words(words.replace("_", " ")).cpu()


def context_and_words(backbone: Backbone, n_ctx: int, ctx_init: str | None) -> tuple[Tensor, str]:
    """Start of a text context of `n_ctx` vectors, and the words of `ctx_init` that stay unlearned behind it.

    Deep text prompts come with a fixed n, so that `ctx_init` does not set the length as in CoOp: its first `n_ctx`
    tokens are learned and the others are frozen words. Where it has fewer tokens, the remaining vectors start from
    N(0, 0.02^2). (The released code of MaPLe and its followers ignores the words where n > 4; where there are fewer
    words than vectors, its context takes the place of the class name.)

    Returns:
        the context, tensor with shape (n_ctx, d_t), and the frozen words.

    Raises:
        VLPromptError: `n_ctx` ends inside a word whose rest is no text of its own.
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
    """J, the number of layers with prompts: `depth`, or where it is None the `usual` one as far as there are layers.

    Raises:
        VLPromptError: the depth asked for is more than the tower has layers; it names the option.
    """
    if depth is None:
        return min(usual, layers)
    check_depth(option, depth, layers)
    return depth
