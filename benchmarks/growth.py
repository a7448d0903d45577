"""Growth of a step's time and memory with the number of classes.

Each method and path runs in a process of its own, from few classes to many, so that the peak memory of the process
belongs to the count that has just run.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from statistics import linear_regression

import torch

from benchmarks.steps import Case, Step, backbone_of, seconds
from vlprompt.training.memory import peak_memory_mb


@dataclass(frozen=True)
class Point:
    """Seconds of a step at a number of classes, and its peak memory in MB beside the weights."""

    classes: int
    seconds: float
    mb: float


@dataclass(frozen=True)
class Growth:
    """Measured points of both paths, and a line through those of the plain path for the counts it was not run at."""

    case: Case
    ours: list[Point]
    plain: list[Point]

    def fitted(self, classes: int) -> Point:
        """Extrapolate the plain path linearly to a number of classes."""
        counts = [point.classes for point in self.plain]
        values = []
        for measured in ([point.seconds for point in self.plain], [point.mb for point in self.plain]):
            slope, start = linear_regression(counts, measured)
            values.append(start + slope * classes)
        return Point(classes, *values)


def points(case: Case, counts: Sequence[int], *, plain: bool, quick: bool, threads: int) -> list[Point]:
    """Measure one path in this process, which must be a fresh one."""
    prepare(threads)
    backbone = backbone_of(quick)
    found = []
    weights = peak_memory_mb(backbone.device) or 0.0
    for classes in sorted(counts):
        step = Step(case, backbone, classes)
        # Our first step also packs the sentences; later steps reuse that.
        times = [seconds(partial(step.run, step.images, plain=plain))[0] for _ in range(1 if plain else 2)]
        found.append(Point(classes, min(times), (peak_memory_mb(backbone.device) or 0.0) - weights))
    return found


def prepare(threads: int) -> None:
    """Configure torch in a process that measures."""
    torch.set_num_threads(threads)
    # The published code trains modules in training mode, where PyTorch never takes its inference fast path.
    torch.backends.mha.set_fastpath_enabled(False)


def run(case: Case, *, ours: Sequence[int], plain: Sequence[int], quick: bool, threads: int) -> Growth:
    """Measure both paths, ours and the plain one, each at its own class counts; print as results arrive."""

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
