"""The corpus as training uses it: held-out drawings, sampling weights, labels, and plans of batches."""

import os
import random
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

import numpy as np
import torch
from tools.pictoclip.captions import Forms, Speaker, Vocabulary, every_text
from tools.pictoclip.corpus import Corpus
from tools.pictoclip.render import dominant_colors, normalize, plain_view
from tools.pictoclip.scenes import PALETTE, Array, Mix, Scenes, sample_scenes
from tools.pictoclip.sources import UNSEEN_STYLES
from torch import Tensor

_HELD_OUT_DRAWINGS = 1000
_HELD_OUT_SEED = 17
# Flags look the same in every style, have no line art, and there are 270 of them.
_FLAG_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What a plan depends on; equal jobs give equal plans.

    `icons`: shares of other icons with a Unicode concept, and of icons without one; the rest are emoji.
    `longest`: number of random words or vectors in front at most; `length`: tokens of a caption at most.
    """

    key: tuple[int, ...]
    size: int
    icons: tuple[float, float] = (0.03, 0.12)
    mix: Mix = field(default_factory=Mix)
    forms: Forms = field(default_factory=Forms)
    strength: float = 1.0
    longest: int = 16
    length: int = 44


@dataclass(frozen=True)
class Plan:
    """A batch as numbers: scenes, and their captions' tokens (B, L) and ends (B,).

    `spreads` (B,) are the standard deviations of the captions' random vectors; `general` (B,) marks captions that name
    the subgroup alone.
    """

    scenes: Scenes
    tokens: Array
    ends: Array
    spreads: Array
    general: Array

    def rows(self, start: int, stop: int) -> "Plan":
        arrays = (self.tokens, self.ends, self.spreads, self.general)
        return Plan(self.scenes.rows(start, stop), *(array[start:stop] for array in arrays))

    def padded(self, length: int) -> "Plan":
        """Return the plan with tokens (B, length)."""
        return replace(self, tokens=np.pad(self.tokens, ((0, 0), (0, length - self.tokens.shape[1]))))


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
    monochrome: Array = field(init=False)
    subgroup_names: list[str] = field(init=False)
    held_out: dict[str, Tensor] = field(init=False)
    speaker: Speaker = field(init=False)
    vocabulary: Vocabulary = field(init=False)

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
        self.monochrome = np.array([not d.color for d in drawings])
        self.held_out = self._hold_out()
        self._pools = self._make_pools()
        colored = np.flatnonzero(~self.monochrome)
        colors = np.full(len(drawings), -1)
        colors[colored] = dominant_colors(self.corpus.pictures, colored, PALETTE)
        self.speaker = Speaker(drawings, self.corpus.concepts, colors.tolist())
        self.vocabulary = Vocabulary.of_texts(every_text(drawings, self.corpus.concepts))

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
        solid = torch.from_numpy(self.monochrome)[emoji]
        return {"color": emoji[~solid], "solid": emoji[solid], "line": torch.tensor(lines, dtype=torch.long)}

    def _is_flag(self, i: int) -> bool:
        group = int(self.subgroups[i])
        return group >= 0 and self.subgroup_names[group].endswith("flag")

    def _make_pools(self) -> list[tuple[Array, Array]]:
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
        return normalize(plain_view(self.corpus.pictures[index.numpy()], size))

    def plan(self, job: Job) -> Plan:
        """Compose a batch of scenes and captions."""
        rng, words = np.random.default_rng(job.key), random.Random(str(job.key))
        main, others = self._choose(rng, job.size, job.icons), self._choose(rng, 2 * job.size, job.icons)
        scenes = self.scenes(rng, main, others, job.mix, job.strength)
        captions = [self.speaker.caption(scenes, row, job.forms, words, job.longest) for row in range(job.size)]
        tokens, ends = self.vocabulary.encode([caption.text for caption in captions], job.length)
        spreads = np.array([caption.spread for caption in captions], np.float32)
        return Plan(scenes, tokens, ends, spreads, np.array([caption.of_subgroup for caption in captions]))

    def scenes(
        self, rng: np.random.Generator, main: Array, others: Array | None, mix: Mix, strength: float = 1.0
    ) -> Scenes:
        """Compose scenes around the drawings `main` (B,), with training drawings beside them."""
        if others is None:
            others = self._choose(rng, 2 * len(main), Job((), 0).icons)
        return sample_scenes(rng, main, others.reshape(-1, 2), self.monochrome, mix, strength)

    def _choose(self, rng: np.random.Generator, size: int, icons: tuple[float, float]) -> Array:
        counts = [round(size * share) for share in icons]
        counts = [size - sum(counts), *counts]
        chosen = [rng.choice(pool, n, p=p) for (pool, p), n in zip(self._pools, counts, strict=True) if n]
        return rng.permutation(np.concatenate(chosen))


class Planner:
    """Plans of consecutive steps, made ahead by `workers` processes, or on demand without any.

    With a GPU there is by default one process for every core but one, else none. The processes are forked, so a planner
    has to be created before the GPU is used.
    """

    def __init__(self, data: TrainingSet, workers: int | None = None) -> None:
        if workers is None:
            workers = max(1, (os.cpu_count() or 1) - 1) if torch.cuda.is_available() else 0
        self._data, self._workers = data, workers
        self._ahead: dict[Job, Future[Plan]] = {}
        self._pool = None
        if workers:
            self._pool = ProcessPoolExecutor(workers, get_context("fork"), _adopt, (data,))
            for started in [self._pool.submit(_planned, Job((n,), 1)) for n in range(workers)]:
                started.result()

    def plan(self, step: int, job_of: Callable[[int], Job]) -> Plan:
        """Return the plan of `step`, and have those of the next steps made."""
        if self._pool is None:
            return self._data.plan(job_of(step))
        jobs = [job_of(step + n) for n in range(3 * self._workers)]
        for job in self._ahead.keys() - set(jobs):
            self._ahead.pop(job).cancel()
        for job in jobs:
            if job not in self._ahead:
                self._ahead[job] = self._pool.submit(_planned, job)
        return self._ahead[jobs[0]].result()


_adopted: list[TrainingSet] = []


def _adopt(data: TrainingSet) -> None:
    _adopted.append(data)


def _planned(job: Job) -> Plan:
    return _adopted[0].plan(job)
