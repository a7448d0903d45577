"""What context vectors lie near to in the vocabulary, as CoOp's authors (arXiv 2109.01134) read theirs."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.analysis.summaries import Spread
from vlprompt.backbones.text import TextTower

NEAREST = 5
SAMPLE = 512  # tokens whose own nearest token is looked for
CHUNK = 256  # vectors at a time; with 49,408 tokens their distances take 50 MB


@dataclass(frozen=True)
class Neighbor:
    """A token: its text, and the Euclidean distance and cosine of its embedding to a vector."""

    word: str
    distance: float
    cosine: float


@dataclass(frozen=True)
class Vector:
    """A context vector: its norm, and the nearest tokens, the nearest first."""

    norm: float
    nearest: tuple[Neighbor, ...]


@dataclass(frozen=True)
class Context:
    """The n vectors of a context; `of` says whose it is, where there are several."""

    of: str
    vectors: tuple[Vector, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that vectors are compared with, for scale.

    Attributes:
        tokens: how many have an embedding. Weights may be stored for some only; the others read as zeros.
        norms: of their embeddings.
        nearest: distance from a token to the nearest other one, of an even sample.
    """

    tokens: int
    norms: Spread
    nearest: Spread


class Table:
    """The embeddings of a tower's tokens, which context vectors meet it beside: at the input."""

    def __init__(self, tower: TextTower) -> None:
        embeddings = tower.vocabulary
        self._tokens = embeddings.any(dim=1).nonzero()[:, 0]
        self._rows = embeddings[self._tokens]
        self._tokenizer = tower.tokenizer

    def describe(self) -> Vocabulary:
        """Norms and distances within the table."""
        sample = torch.linspace(0, len(self._rows) - 1, min(SAMPLE, len(self._rows))).long().to(self._rows.device)
        distances, _ = _nearest(self._rows[sample], self._rows, 2)
        return Vocabulary(len(self._rows), Spread.of(self._rows.norm(dim=1)), Spread.of(distances[:, 1]))

    def read(self, context: Tensor, of: str) -> Context:
        """Norms and nearest tokens of context vectors (n, d_t)."""
        vectors = context.to(self._rows)
        distances, rows = _nearest(vectors, self._rows, NEAREST)
        cosines = F.cosine_similarity(self._rows[rows], vectors[:, None], dim=-1)
        words = [[self._tokenizer.word(token) for token in tokens] for tokens in self._tokens[rows].tolist()]
        found = zip(vectors.norm(dim=1).tolist(), words, distances.tolist(), cosines.tolist(), strict=True)
        return Context(of, tuple(Vector(norm, tuple(map(Neighbor, *near))) for norm, *near in found))


def _nearest(vectors: Tensor, table: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances (m, count) of vectors (m, d_t) to the nearest rows of a table, ascending, and which rows they are."""
    distances, rows = [], []
    for part in vectors.split(CHUNK):
        near = torch.cdist(part, table).topk(min(count, len(table)), largest=False).indices
        # cdist goes through products of large numbers, which leaves a vector that equals a word at some 1e-3 from it.
        exact, order = (table[near] - part[:, None]).norm(dim=-1).sort(dim=1)
        distances.append(exact)
        rows.append(near.gather(1, order))
    return torch.cat(distances), torch.cat(rows)
