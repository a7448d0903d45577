"""Captions of training drawings (names, templates, tags, subgroup phrases) and their tokens.

The shipped model was trained on these texts: do not edit them for style.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer
from tools.pictoclip.corpus import Drawing
from tools.pictoclip.names import SUBGROUP_PHRASES, Concept, Concepts
from torch import Tensor

CONTEXT_LENGTH = 77
EVALUATION_TEMPLATE = "a photo of a {}."
TEMPLATES = (
    "{}",
    "{}.",
    "a {}",
    "a {}.",
    "a photo of a {}",
    "a photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "an icon of a {}",
    "an icon of a {}.",
    "a drawing of a {}",
    "a drawing of a {}.",
    "an emoji of a {}",
    "an emoji of a {}.",
    "a picture of a {}.",
    "a symbol for {}",
    "a sketch of a {}",
    "a line drawing of a {}.",
    "a cartoon {}",
    "a black and white icon of a {}",
    "a pictogram of a {}",
    "a pictogram of a {}.",
    "a simple drawing of the {}.",
    "an image of a {}",
)
_JOINS = (", a kind of ", ", a type of ", ", ")
_LABEL_RATHER_THAN_ICON_NAME = 0.75


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the kinds of captions for drawings with a Unicode concept; the rest are plain names."""

    subgroup: float = 0.12
    with_subgroup: float = 0.18
    with_tags: float = 0.20


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption. `of_subgroup`: it names only the subgroup, so it matches every drawing in that."""

    text: str
    of_subgroup: bool = False


def sample_caption(drawing: Drawing, concept: Concept | None, mix: Mix, rng: random.Random) -> Caption:
    """Draw one of the possible captions of a drawing."""
    template = rng.choice(TEMPLATES)
    if concept is None:
        return Caption(template.format(drawing.name))
    share = rng.random()
    label = concept.label if rng.random() < _LABEL_RATHER_THAN_ICON_NAME else drawing.name
    phrases = SUBGROUP_PHRASES.get(concept.subgroup)
    if phrases:
        if share < mix.subgroup:
            return Caption(template.format(rng.choice(phrases)), of_subgroup=True)
        if share < mix.subgroup + mix.with_subgroup:
            return Caption(template.format(label + rng.choice(_JOINS) + rng.choice(phrases)))
    if concept.tags and share > 1 - mix.with_tags:
        tags = rng.sample(concept.tags, min(len(concept.tags), rng.randint(1, 3)))
        return Caption(", ".join([template.format(label), *tags]))
    return Caption(template.format(label))


def every_text(drawings: Sequence[Drawing], concepts: Concepts) -> Iterator[str]:
    """Yield texts that together contain every token of all captions, joining punctuation included."""
    for ending in ("", ".", ","):
        for drawing in drawings:
            yield drawing.name + ending
        for concept in concepts.by_code.values():
            for word in (concept.label, *concept.tags):
                yield word + ending
        for phrases in SUBGROUP_PHRASES.values():
            for phrase in phrases:
                yield phrase + ending
        for template in (*TEMPLATES, *_JOINS):
            yield template.format("x") + ending


class Vocabulary:
    """The subset of CLIP's tokens that captions use, renumbered from 0.

    `ids` (n_used,) are their positions in the 49,408-token vocabulary, ascending. Other tokens are dropped.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = sorted(ids)
        self._row = {token: row for row, token in enumerate(self.ids)}
        self._tokenizer = SimpleTokenizer()
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of_texts(cls, texts: Iterator[str]) -> "Vocabulary":
        tokenizer = SimpleTokenizer()
        used = {token for text in set(texts) for token in tokenizer.encode(text)}
        return cls([*used, tokenizer.sot_token_id, tokenizer.eot_token_id])

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return rows (B, L), padded to the longest text, with start and end tokens, and the end positions (B,)."""
        rows = [self._encode(text) for text in texts]
        ends = torch.tensor([len(row) - 1 for row in rows])
        tokens = torch.zeros(len(rows), int(ends.max()) + 1, dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
        return tokens, ends

    def _encode(self, text: str) -> list[int]:
        if text not in self._known:
            tokens = self._tokenizer.encode(text)
            rows = [self._row[token] for token in tokens if token in self._row][: CONTEXT_LENGTH - 2]
            start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
            self._known[text] = [self._row[start], *rows, self._row[end]]
        return self._known[text]
