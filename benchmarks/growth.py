"""How a step's time and memory grow with the number of classes.

Every method and side has a process of its own, whose peak memory is measured from few classes to many, so that a peak
belongs to the count that has just been run.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from statistics import linear_regression

import torch

from benchmarks.methods import Case, Step, backbone_of, seconds
from vlprompt.training.memory import peak_memory_mb


@dataclass(frozen=True)
class Point:
    """Seconds of a step with so many classes, and the most memory in MB that it took beside the weights."""

    classes: int
    seconds: float
    mb: float


@dataclass(frozen=True)
class Growth:
    """Measured points of both sides; what the plain way would take elsewhere is fitted to its own."""

    case: Case
    ours: list[Point]
    plain: list[Point]

    def fitted(self, classes: int) -> Point:
        """The plain way's straight line at so many classes."""
        counts = [point.classes for point in self.plain]
        values = []
        for measured in ([point.seconds for point in self.plain], [point.mb for point in self.plain]):
            slope, start = linear_regression(counts, measured)
            values.append(start + slope * classes)
        return Point(classes, *values)


def points(case: Case, counts: Sequence[int], *, plain: bool, quick: bool, threads: int) -> list[Point]:
    """Points of one side in this process, which has to be a fresh one."""
    prepare(threads)
    backbone = backbone_of(quick)
    found = []
    weights = peak_memory_mb(backbone.device) or 0.0
    for classes in sorted(counts):
        step = Step(case, backbone, classes)
        # The first run of our side also arranges its sentences, which later steps have.
        times = [seconds(partial(step.run, step.images, plain=plain))[0] for _ in range(1 if plain else 2)]
        found.append(Point(classes, min(times), (peak_memory_mb(backbone.device) or 0.0) - weights))
    return found


def prepare(threads: int) -> None:
    """Settings of a process that measures."""
    torch.set_num_threads(threads)
    # The published code trains modules in training mode, where PyTorch never takes its fast path of inference.
    torch.backends.mha.set_fastpath_enabled(False)


def run(case: Case, *, ours: Sequence[int], plain: Sequence[int], quick: bool, threads: int) -> Growth:
    """Points of both sides, ours at one set of class counts and the plain way's at another, fewer."""

    def side(counts: Sequence[int], plain: bool) -> list[Point]:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(points, case, counts, plain=plain, quick=quick, threads=threads).result()

    growth = Growth(case, side(ours, plain=False), side(plain, plain=True))
    print(f"\n{case.method}: {'classes':>8} {'ours s':>7} {'ours MB':>8} {'plain s':>8} {'plain MB':>9}", flush=True)
    for point in growth.ours:
        line = growth.fitted(point.classes)
        print(
            f"{'':{len(case.method) + 1}} {point.classes:8} {point.seconds:7.2f} {point.mb:8.0f} {line.seconds:8.2f} "
            f"{line.mb:9.0f} fitted",
            flush=True,
        )
    return growth
