"""Tokens nearest to context vectors, as in CoOp (arXiv 2109.01134)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.analysis.norms import Spread
from vlprompt.backbones.text import TextTower

NEAREST = 5
SAMPLE = 512  # number of tokens whose distance to their nearest token is measured
CHUNK = 256  # vectors per step; their distances to 49,408 tokens take 50 MB


@dataclass(frozen=True)
class Neighbor:
    """Token near a vector: its text, and the Euclidean distance and cosine between its embedding and the vector."""

    word: str
    distance: float
    cosine: float


@dataclass(frozen=True)
class Vector:
    """Context vector: its norm, and its nearest tokens, the nearest first."""

    norm: float
    nearest: tuple[Neighbor, ...]


@dataclass(frozen=True)
class Context:
    """Context of n vectors, and the classes that it belongs to, as text (`of`)."""

    of: str
    vectors: tuple[Vector, ...]


@dataclass(frozen=True)
class VocabularyScale:
    """Norms and distances within the vocabulary, for comparison with those of vectors.

    Attributes:
        tokens: Number of tokens with an embedding; some weights store only a part of the vocabulary.
        norms: Norms of their embeddings.
        nearest: Distances from a token to its nearest other token, over an even sample.
    """

    tokens: int
    norms: Spread
    nearest: Spread


class TokenEmbeddings:
    """Token embeddings of a text tower, for comparison with context vectors.

    Args:
        tower: Text tower.
    """

    def __init__(self, tower: TextTower) -> None:
        embeddings = tower.vocabulary
        self._tokens = embeddings.any(dim=1).nonzero()[:, 0]
        self._rows = embeddings[self._tokens]
        self._tokenizer = tower.tokenizer

    def scale(self) -> VocabularyScale:
        """Measure norms and distances within the vocabulary."""
        sample = torch.linspace(0, len(self._rows) - 1, min(SAMPLE, len(self._rows))).long().to(self._rows.device)
        distances, _ = _nearest(self._rows[sample], self._rows, 2)
        return VocabularyScale(len(self._rows), Spread.of(self._rows.norm(dim=1)), Spread.of(distances[:, 1]))

    def read(self, context: Tensor, of: str) -> Context:
        """Return the norms and nearest tokens of context vectors (n, d_t)."""
        vectors = context.to(self._rows)
        distances, rows = _nearest(vectors, self._rows, NEAREST)
        cosines = F.cosine_similarity(self._rows[rows], vectors[:, None], dim=-1)
        words = [[self._tokenizer.word(token) for token in tokens] for tokens in self._tokens[rows].tolist()]
        found = zip(vectors.norm(dim=1).tolist(), words, distances.tolist(), cosines.tolist(), strict=True)
        return Context(of, tuple(Vector(norm, tuple(map(Neighbor, *near))) for norm, *near in found))


def _nearest(vectors: Tensor, table: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the distances (m, count) of vectors (m, d_t) to their nearest rows, ascending, and the rows' numbers."""
    distances, rows = [], []
    for part in vectors.split(CHUNK):
        near = torch.cdist(part, table).topk(min(count, len(table)), largest=False).indices
        # cdist subtracts large products, so that a vector equal to a token gets a distance of about 1e-3.
        exact, order = (table[near] - part[:, None]).norm(dim=-1).sort(dim=1)
        distances.append(exact)
        rows.append(near.gather(1, order))
    return torch.cat(distances), torch.cat(rows)
