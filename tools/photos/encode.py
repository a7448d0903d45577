"""What the sentence encoder makes of names, and of sentences around them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.bert import Bert
from vlprompt.backbones.tokenizer import Tokenizer

TEMPLATES = """
a photo of a {}|a photo of the {}|a picture of a {}|an image of a {}|a photograph of one {}|a close-up of a {}|
a blurry picture of the {}|a small {}|a large {}|there is a {} in the scene|a {} outdoors|this is a {}|a {} in a room|
an old photo of a {}|a painting of a {}|a sketch of a {}|a cartoon {}|art of the {}|a sculpture of a {}|a toy {}|
a {} on a white background|one {} among other things|look at this {}|the {} is shown here|a dark photo of the {}|
a bright image of a {}|black and white photograph of the {}|many {}|a bad picture of the {}|a nice {}|we see a {} here|
a cropped image of a {}|detail of a {}|a {} seen from the side|an illustration of a {}|{}, a kind of thing|{}|the {}|
a {}|drawing of {}
""".replace("\n", "").split("|")
SCALES = (0.02, 0.02, 0.055, 0.1)  # of random context vectors: prompt learning's start, word embeddings, and more
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16)
FIRST_WORD = 1996  # tokens before are special ones, single characters and symbols
BATCH = 64


@dataclass(frozen=True)
class Sentences:
    """States (N, L, d_t) of N sentences of equal length, and the index (N,) of the name in each."""

    states: Tensor
    names: Tensor


class Encoder:
    """Sentence encoder without a head.

    Args:
        bert: the encoder.
        tokenizer: its tokenizer.
    """

    def __init__(self, bert: Bert, tokenizer: Tokenizer) -> None:
        self.bert, self.tokenizer = bert, tokenizer
        self.table: Tensor = bert.embeddings.word_embeddings.weight

    def names(self, names: Sequence[str]) -> Tensor:
        """Return unit vectors (N, d_t): the mean of the states of bare names, as the encoder was trained."""
        found = torch.empty(len(names), self.table.shape[1])
        for group in self.run([(index, self.embed(self._words(name))) for index, name in enumerate(names)]):
            found[group.names] = F.normalize(group.states.mean(1), dim=1)
        return found

    def sentences(self, names: Sequence[str], count: int, seed: int) -> list[Sentences]:
        """Return the states of `count` sentences around names drawn at random."""
        draw, noise = random.Random(seed), torch.Generator().manual_seed(seed)
        chosen = [draw.randrange(len(names)) for _ in range(count)]
        return list(self.run([(index, self._around(names[index], draw, noise)) for index in chosen]))

    def embed(self, tokens: Sequence[int], context: Tensor | None = None) -> Tensor:
        """Return word embeddings (L, d_t) of a sentence with context vectors (n, d_t) in front of the tokens."""
        start, end = self.table[[self.tokenizer.sos]], self.table[[self.tokenizer.eot]]
        return torch.cat([start, *([] if context is None else [context]), self.table[list(tokens)], end])

    @torch.no_grad()
    def run(self, sentences: list[tuple[int, Tensor]]) -> Iterator[Sentences]:
        """Yield the states of sentences, each an index and embeddings (L, d_t), in batches of equal length."""
        for _, group in groupby(sorted(sentences, key=lambda item: len(item[1])), key=lambda item: len(item[1])):
            members = list(group)
            for begin in range(0, len(members), BATCH):
                part = members[begin : begin + BATCH]
                states = self.states(torch.stack([embeddings for _, embeddings in part]))
                yield Sentences(states, torch.tensor([index for index, _ in part]))

    def states(self, embeddings: Tensor) -> Tensor:
        """Return the last layer's states (N, L, d_t) of word embeddings (N, L, d_t)."""
        parts, heads = self.bert.embeddings, self.bert.num_heads
        x = embeddings + parts.position_embeddings.weight[: embeddings.shape[1]]
        x = parts.LayerNorm(x + parts.token_type_embeddings.weight[0])
        for layer in self.bert.encoder.layer:
            own, out = layer.attention.self, layer.attention.output
            query, key, value = (
                project(x).unflatten(-1, (heads, -1)).transpose(1, 2) for project in (own.query, own.key, own.value)
            )
            attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            x = out.LayerNorm(x + out.dense(attended))
            x = layer.output.LayerNorm(x + layer.output.dense(F.gelu(layer.intermediate.dense(x))))
        return x

    def _words(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def _around(self, name: str, draw: random.Random, noise: torch.Generator) -> Tensor:
        """Return the embeddings of a sentence around a name: a template, random words, random vectors, or none."""
        kind, stop = draw.random(), "." if draw.random() < 0.6 else ""
        if kind < 0.4:
            return self.embed(self._words(draw.choice(TEMPLATES).format(name) + stop))
        words = self._words(name + stop)
        if kind < 0.65:
            before = [self._word(draw) for _ in range(draw.choice(LENGTHS))]
            after = [self._word(draw) for _ in range(draw.choice((0, 0, 0, 1, 2)))]
            return self.embed([*before, *self._words(name), *after, *self._words(stop)])
        if kind < 0.93:
            context = torch.randn(draw.choice(LENGTHS), self.table.shape[1], generator=noise)
            return self.embed(words, context * draw.choice(SCALES))
        return self.embed(words)

    def _word(self, draw: random.Random) -> int:
        while not self.tokenizer.word(token := draw.randrange(FIRST_WORD, len(self.table))).isalpha():
            pass
        return token
