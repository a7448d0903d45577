"""Token sentences with slots for context vectors, packed to avoid duplicate and unused positions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

import torch
from torch import Tensor

from vlprompt.backbones.tokenizer import Tokenizer, shown
from vlprompt.errors import VLPromptError


@dataclass(frozen=True)
class Places:
    """L positions of one or more sentences, concatenated.

    Attributes:
        tokens: token ids (L,); 0 at a context vector.
        slots: index of the context vector at each place (L,); -1 for a token.
        positions: index of each place in its sentence (L,).
        classes: index of the class of that sentence (L,).
        filled: whether any of the places holds a context vector.
    """

    tokens: Tensor
    slots: Tensor
    positions: Tensor
    classes: Tensor
    filled: bool

    def part(self, begin: int, end: int) -> "Places":
        """Return places `begin` to `end`."""
        return self._each(lambda tensor: tensor[begin:end])

    def to(self, device: torch.device) -> "Places":
        """Move the places to a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Places":
        tensors = (self.tokens, self.slots, self.positions, self.classes)
        tokens, slots, positions, classes = map(change, tensors)
        return Places(tokens, slots, positions, classes, self.filled)


@dataclass(frozen=True)
class Sentences:
    """C sentences without padding: their common start, and the rest of each, shortest first.

    Attributes:
        start: leading places that are equal in all sentences and precede every pooled place.
        rests: all other places, sentence by sentence.
        lengths: lengths of the rests, ascending.
        read: index of the pooled place of each rest among all places of the rests (C,), in their order.
        ranks: index of each class in that order (C,).
    """

    start: Places
    rests: Places
    lengths: tuple[int, ...]
    read: Tensor
    ranks: Tensor

    def to(self, device: torch.device) -> "Sentences":
        """Move the sentences to a device."""
        return replace(
            self,
            start=self.start.to(device),
            rests=self.rests.to(device),
            read=self.read.to(device),
            ranks=self.ranks.to(device),
        )

    def part(self, begin: int, end: int) -> tuple[Places, list[tuple[int, int]], Tensor]:
        """Return rests `begin` to `end`: their places, runs of (count, length), and their pooled places."""
        before, lengths = sum(self.lengths[:begin]), self.lengths[begin:end]
        runs = [(len(list(equal)), length) for length, equal in groupby(lengths)]
        return self.rests.part(before, before + sum(lengths)), runs, self.read[begin:end] - before


def lay_out(tokens: Tensor, slots: Tensor, read: Tensor, lengths: Tensor, *, shared: int) -> Sentences:
    """Lay out the first `lengths` (C,) places of sentences of tokens and slots (C, S), without those after them.

    Args:
        tokens, slots: as `arrange` returns them.
        read: pooled place of each sentence (C,).
        lengths: number of places that the tower needs of each sentence (C,), the shared ones included.
        shared: length of the common start.
    """
    size, lengths = tokens.shape[1], lengths - shared
    order = lengths.argsort(stable=True)
    needed = torch.arange(size)[None, :] < (lengths[order] + shared)[:, None]
    needed[:, :shared] = False
    ranks, positions = needed.nonzero(as_tuple=True)
    classes = order[ranks]

    def places(classes: Tensor, positions: Tensor) -> Places:
        chosen = slots[classes, positions]
        return Places(tokens[classes, positions], chosen, positions, classes, bool((chosen >= 0).any()))

    start = places(torch.zeros(shared, dtype=torch.long), torch.arange(shared))
    ends = lengths[order].cumsum(0)
    read_in_rests = ends - lengths[order] + (read - shared)[order]
    rests = places(classes, positions)
    return Sentences(start, rests, tuple(lengths[order].tolist()), read_in_rests, order.argsort())


def common_start(tokens: Tensor, slots: Tensor, read: Tensor, *, share_slots: bool) -> int:
    """Return the length of the common start of C sentences, which ends before the first pooled place.

    With a context for each class (`share_slots=False`) the common start ends before the first context vector.
    """
    equal = ((tokens == tokens[0]) & (slots == slots[0])).all(0)
    if not share_slots:
        equal &= slots[0] < 0
    length = sum(1 for _ in takewhile(bool, equal.tolist()))
    return min(length, int(read.min()))


def arrange(
    tokenizer: Tokenizer, names: Sequence[str], *, length: int, position: str, frozen_words: str
) -> tuple[Tensor, Tensor]:
    """Return tokens and slots, each (C, context length), of `[SOS] context name . [EOT]` for every name.

    Args:
        tokenizer: the tower's tokenizer.
        names: class names as words, without underscores.
        length: number of context vectors, n.
        position: position of the class name, "end", "middle" (after the first n // 2 vectors) or "front", as in CoOp.
        frozen_words: words between context and name.

    Raises:
        VLPromptError: a sentence is longer than the tower's context; the message names the class and its token count.
    """
    context = [-1 - slot for slot in range(length)]
    start = [] if tokenizer.sos is None else [tokenizer.sos]
    words = tokenizer.encode(frozen_words) if frozen_words else []
    rows = []
    for name in names:
        # CoOp tokenizes "name." as a whole and splits it at the name's own length, which matters for "what?" + ".".
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
            if room < 2:
                raise VLPromptError(
                    f"{length} context vectors leave no room for a class name in a context of "
                    f"{tokenizer.context_length} tokens; use fewer context vectors"
                )
            raise VLPromptError(
                f"class name {shown(name)!r} is too long: {len(sentence)} tokens, room for {room} beside {length} "
                "context vectors; shorten the name (`name_map`) or use fewer context vectors"
            )
        rows.append(row + [tokenizer.pad] * (tokenizer.context_length - len(row)))
    entries = torch.tensor(rows)
    return entries.clamp(min=0), (-1 - entries).clamp(min=-1)
