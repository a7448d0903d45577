"""The corpus as training uses it: held-out drawings, sampling weights and labels."""

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from tools.pictoclip import views
from tools.pictoclip.captions import Caption, Mix, sample_caption
from tools.pictoclip.corpus import Corpus
from tools.pictoclip.sources import UNSEEN_STYLES
from torch import Tensor

_HELD_OUT_DRAWINGS = 1000
_HELD_OUT_SEED = 17
# Flags look the same in every style, have no line art, and there are 270 of them.
_FLAG_WEIGHT = 0.2


@dataclass(frozen=True)
class Batch:
    """A batch: `pictures` (B, R, R, 4) uint8; `monochrome`, `kinds`, `concepts` and `subgroups` (B,)."""

    pictures: Tensor
    monochrome: Tensor
    captions: list[Caption]
    kinds: Tensor
    concepts: Tensor
    subgroups: Tensor


@dataclass
class TrainingSet:
    """Labels and splits of all drawings.

    `concepts` (N,) and `subgroups` (N,) are rows among all Unicode concepts and subgroups, or -1. `kinds` (N,) is equal
    for drawings of one concept or, outside Unicode, of one name. `held_out` lists drawings that are never trained on:
    "color" and "solid" emoji of concepts held out of a family of styles, and "line" art of unseen styles.
    """

    corpus: Corpus
    concepts: Tensor = field(init=False)
    subgroups: Tensor = field(init=False)
    kinds: Tensor = field(init=False)
    monochrome: Tensor = field(init=False)
    subgroup_names: list[str] = field(init=False)
    held_out: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        drawings, by_code = self.corpus.drawings, self.corpus.concepts.by_code
        codes = {code: row for row, code in enumerate(by_code)}
        self.subgroup_names = sorted({concept.subgroup for concept in by_code.values() if concept.subgroup})
        groups = {name: row for row, name in enumerate(self.subgroup_names)}
        groups_of_code = {code: groups.get(concept.subgroup, -1) for code, concept in by_code.items()}
        kinds: dict[str, int] = {}
        self.concepts = torch.tensor([codes.get(d.code, -1) for d in drawings])
        self.subgroups = torch.tensor([groups_of_code.get(d.code, -1) for d in drawings])
        self.kinds = torch.tensor([kinds.setdefault(d.code or d.name, len(kinds)) for d in drawings])
        self.monochrome = torch.tensor([not d.color for d in drawings])
        self.held_out = self._hold_out()
        self._pools = self._make_pools()

    def _hold_out(self) -> dict[str, Tensor]:
        """Hold out whole concepts per family of emoji styles, seeded, and whole line-art styles."""
        members: dict[tuple[str, str], list[int]] = {}
        lines: list[int] = []
        for i, drawing in enumerate(self.corpus.drawings):
            if self.subgroups[i] < 0 or self._is_flag(i):
                continue
            if drawing.style in UNSEEN_STYLES:
                lines.append(i)
            elif drawing.emoji:
                members.setdefault((drawing.family, drawing.code), []).append(i)
        order = sorted(members)
        random.Random(_HELD_OUT_SEED).shuffle(order)
        wanted = min(_HELD_OUT_DRAWINGS, len(self.corpus.drawings) // 10)
        out: list[int] = []
        for key in order:
            if len(out) >= wanted:
                break
            out += members[key]
        emoji = torch.tensor(sorted(out))
        solid = self.monochrome[emoji]
        return {"color": emoji[~solid], "solid": emoji[solid], "line": torch.tensor(lines, dtype=torch.long)}

    def _is_flag(self, i: int) -> bool:
        group = int(self.subgroups[i])
        return group >= 0 and self.subgroup_names[group].endswith("flag")

    def _make_pools(self) -> list[tuple[np.ndarray, np.ndarray]]:
        held_out = {i for part in self.held_out.values() for i in part.tolist()}
        pools: list[list[int]] = [[], [], []]
        for i, drawing in enumerate(self.corpus.drawings):
            if i not in held_out and drawing.style not in UNSEEN_STYLES:
                pools[0 if drawing.emoji else 1 if drawing.code else 2].append(i)
        weighted = []
        for pool in pools:
            weights = np.array([_FLAG_WEIGHT if self._is_flag(i) else 1.0 for i in pool])
            weighted.append((np.array(pool), weights / max(weights.sum(), 1)))
        return weighted

    def plain(self, index: Tensor, size: int) -> Tensor:
        """Return drawings (B,) as evaluation uses them: on white, normalized, (B, 3, size, size)."""
        pictures = torch.from_numpy(self.corpus.pictures[index.numpy()])
        return views.normalize(views.plain_view(pictures, size))

    def batch(self, size: int, shares: tuple[float, float], mix: Mix, key: tuple[int, ...]) -> Batch:
        """Draw `size` drawings and captions; the same key gives the same ones.

        `shares` are those of other icons with a Unicode concept, and of icons without one; the rest are emoji.
        """
        rng = np.random.default_rng(key)
        counts = [round(size * share) for share in shares]
        counts = [size - sum(counts), *counts]
        pools = zip(self._pools, counts, strict=True)
        chosen = np.concatenate([rng.choice(pool, n, replace=n > len(pool) // 2, p=p) for (pool, p), n in pools])
        index = torch.from_numpy(chosen)
        words = random.Random(str(key))
        drawings = [self.corpus.drawings[i] for i in chosen]
        concepts = self.corpus.concepts.by_code
        return Batch(
            torch.from_numpy(self.corpus.pictures[chosen]),
            self.monochrome[index],
            [sample_caption(drawing, concepts.get(drawing.code), mix, words) for drawing in drawings],
            self.kinds[index],
            self.concepts[index],
            self.subgroups[index],
        )
