"""Token sentences with slots for context vectors, and the part of them that all classes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.errors import VLPromptError


@dataclass(frozen=True)
class Sentences:
    """C sentences of one length S, padded behind the token that is read.

    Attributes:
        tokens: token ids (C, S); 0 where a context vector stands.
        slots: index of the context vector at each place (C, S); -1 where a token stands.
        read: position of the token whose feature is read (C,).
        shared: how many leading places are equal in all sentences and come before every place that is read.
    """

    tokens: Tensor
    slots: Tensor
    read: Tensor
    shared: int

    def to(self, device: torch.device) -> "Sentences":
        """The same sentences on another device."""
        return Sentences(self.tokens.to(device), self.slots.to(device), self.read.to(device), self.shared)


def common_start(tokens: Tensor, slots: Tensor, read: Tensor, *, share_slots: bool) -> int:
    """Number of leading places that all C sentences have in common, none of them read.

    Context vectors of a class are its own (`share_slots=False`): the common start ends before the first.
    """
    equal = ((tokens == tokens[0]) & (slots == slots[0])).all(0)
    if not share_slots:
        equal &= slots[0] < 0
    length = sum(1 for _ in takewhile(bool, equal.tolist()))
    return min(length, int(read.min()))


def arrange(
    tokenizer: Tokenizer, names: Sequence[str], *, length: int, position: str, frozen_words: str
) -> tuple[Tensor, Tensor]:
    """Tokens and slots, each (C, context length), of `[SOS] context name . [EOT]` for every name.

    Args:
        tokenizer: that of the tower.
        names: class names as words; no underscores.
        length: n, the number of context vectors.
        position: "end", "middle" (the first n // 2 vectors before the name) or "front", as in CoOp.
        frozen_words: words between context and name.

    Raises:
        VLPromptError: a sentence is longer than the tower's context; it names the class and its token count.
    """
    context = [-1 - slot for slot in range(length)]
    start = [] if tokenizer.sos is None else [tokenizer.sos]
    words = tokenizer.encode(frozen_words) if frozen_words else []
    rows = []
    for name in names:
        # CoOp tokenises "name." in one go and cuts at the name's own length, which matters for "what?" + ".".
        sentence = tokenizer.encode(f"{name}.")
        cut = min(len(tokenizer.encode(name)), len(sentence))
        if position == "end":
            body = context + words + sentence
        elif position == "middle":
            body = context[: length // 2] + sentence[:cut] + context[length // 2 :] + sentence[cut:]
        else:
            body = sentence[:cut] + context + sentence[cut:]
        row = [*start, *body, tokenizer.eot]
        if len(row) > tokenizer.context_length:
            room = tokenizer.context_length - len(row) + len(sentence)
            raise VLPromptError(
                f"class name {name!r} is too long: {len(sentence)} tokens, room for {room} beside {length} context "
                "vectors; shorten the name (--class-names) or use fewer context vectors"
            )
        rows.append(row + [tokenizer.pad] * (tokenizer.context_length - len(row)))
    entries = torch.tensor(rows)
    return entries.clamp(min=0), (-1 - entries).clamp(min=-1)
