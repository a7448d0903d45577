"""Growth of a step's time and memory with the number of classes, the size of the images, or the batch.

Each method and path runs in a process of its own, from small to large, so that the peak memory of the process belongs
to the size that has just run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from statistics import linear_regression
from typing import Any

import torch

from benchmarks.processes import in_process
from benchmarks.steps import Case, Step, backbone_of, seconds
from vlprompt.training.memory import peak_memory_mb

METHODS = ("coop", "cocoop", "dapt", "promptsrc")
COUNTS = (10, 25, 100, 200, 500, 1000)
PLAIN_COUNTS = (25, 50, 100, 200)
MANY = (2000, 5000, 10000)  # for CoOp, ours only
ONCE_FROM = 2000  # classes; laying out the sentences of 10,000, which later steps save, is 0.14 s of a minute


@dataclass(frozen=True)
class Point:
    """Seconds at one size, and the peak memory in MB beside the weights."""

    size: int
    seconds: float
    mb: float


@dataclass(frozen=True)
class Line:
    """Straight line through measured points.

    Attributes:
        seconds, mb: slopes, per unit of the quantity.
        start, start_mb: seconds and MB at size zero.
        exponent: k of the power law size^k that fits the seconds best.
    """

    seconds: float
    start: float
    mb: float
    start_mb: float
    exponent: float


@dataclass(frozen=True)
class Quantity:
    """A quantity that grows.

    Attributes:
        name: its name, as a field of `Work` where steps are measured.
        unit: what slopes are per, such as "100 classes".
        scale: `size ** power` of one unit.
        power: power of the size that work is proportional to: 2 for the side of an image.
    """

    name: str
    unit: str
    scale: float
    power: int = 1

    def units(self, size: float) -> float:
        """Return the number of units in a size."""
        return size**self.power / self.scale

    def line(self, points: Sequence[Point]) -> Line:
        """Fit a line through two or more points."""
        units = [self.units(point.size) for point in points]
        times = [point.seconds for point in points]
        exponent = linear_regression([log(point.size) for point in points], [log(time) for time in times]).slope
        return Line(
            *linear_regression(units, times), *linear_regression(units, [point.mb for point in points]), exponent
        )

    def trend(self, points: Sequence[Point]) -> str:
        """Format slopes and exponent, as "0.4 s and 90 MB per 100 classes, seconds as classes^0.8"."""
        line = self.line(points)
        return f"{line.seconds:.3g} s and {line.mb:.3g} MB per {self.unit}, seconds as {self.name}^{line.exponent:.2f}"


CLASSES = Quantity("classes", "100 classes", 100)
SIDE = Quantity("px", "100 x 100 px", 100**2, power=2)
BATCH = Quantity("batch", "image", 1)


@dataclass(frozen=True)
class Work:
    """Size of a step: classes, side of the images in pixels, images in a batch; None for the model's or method's."""

    classes: int = 25
    px: int | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Growth:
    """Measured points of both paths, and a line through the plain path's, for sizes at which it was not measured.

    Attributes:
        case: the method.
        quantity: what grows.
        work: size of everything else.
        ours, plain: points of both paths.
    """

    case: Case
    quantity: Quantity
    work: Work
    ours: list[Point]
    plain: list[Point]

    def fitted(self, size: int) -> Point:
        """Extrapolate the plain path linearly to a size."""
        line, units = self.quantity.line(self.plain), self.quantity.units(size)
        return Point(size, line.start + line.seconds * units, line.start_mb + line.mb * units)


def points(
    case: Case, quantity: Quantity, sizes: Sequence[int], work: Work, *, plain: bool, quick: bool, threads: int
) -> list[Point]:
    """Measure one path in this process, which must be a fresh one. All sizes share a model and so the image size."""
    prepare(threads)
    sizes = sorted(sizes)
    works = [replace(work, **{quantity.name: size}) for size in sizes]
    backbone = backbone_of(quick, px=works[0].px)
    found = []
    weights = peak_memory_mb(backbone.device) or 0.0
    for size, now in zip(sizes, works, strict=True):
        step = Step(case, backbone, now.classes, now.batch)
        # Our first step also packs the sentences; later steps reuse that.
        repeats = 1 if plain or now.classes >= ONCE_FROM else 2
        times = [seconds(partial(step.run, step.images, plain=plain))[0] for _ in range(repeats)]
        found.append(Point(size, min(times), (peak_memory_mb(backbone.device) or 0.0) - weights))
    return found


def prepare(threads: int) -> None:
    """Configure torch in a process that measures."""
    torch.set_num_threads(threads)
    # The published code trains modules in training mode, where PyTorch never takes its inference fast path.
    torch.backends.mha.set_fastpath_enabled(False)


def run(
    case: Case,
    quantity: Quantity,
    work: Work,
    *,
    ours: Sequence[int],
    plain: Sequence[int],
    quick: bool,
    threads: int,
) -> Growth:
    """Measure both paths, ours and the plain one, each at its own sizes; print as results arrive."""

    def side(sizes: Sequence[int], plain: bool) -> list[Point]:
        # Images of another size need another model; a process that has held two would measure both.
        groups = [[size] for size in sizes] if quantity is SIDE else [sizes]
        options = {"plain": plain, "quick": quick, "threads": threads}
        return [point for group in groups for point in in_process(points, case, quantity, group, work, **options)]

    growth = Growth(case, quantity, work, side(ours, plain=False), side(plain, plain=True))
    print(f"\n{case.method}: {quantity.name:>8} {'ours s':>7} {'ours MB':>8} {'plain s':>8} {'plain MB':>9}")
    for point in growth.ours:
        line = growth.fitted(point.size)
        print(
            f"{'':{len(case.method) + 1}} {point.size:8} {point.seconds:7.2f} {point.mb:8.0f} {line.seconds:8.2f} "
            f"{line.mb:9.0f} fitted"
        )
    print(f"ours {quantity.trend(growth.ours)}; plain {quantity.trend(growth.plain)}", flush=True)
    return growth


def run_all(cases: Sequence[Case], *, quick: bool, threads: int) -> list[Growth]:
    """Measure the growth of the methods in `METHODS`: classes for each, image size and batch for DAPT."""
    found = []
    options: dict[str, Any] = {"quick": quick, "threads": threads}
    for case in cases:
        if case.method not in METHODS:
            continue
        ours, plain = ((4, 6, 8), (4, 6)) if quick else (COUNTS, PLAIN_COUNTS)
        if case.method == "coop" and not quick:
            ours += MANY
        # A context per image multiplies the sentences of the plain path; 200 classes do not fit into memory.
        plain = [count for count in plain if case.method != "cocoop" or count <= 100]
        found.append(run(case, CLASSES, Work(), ours=ours, plain=plain, **options))
        if case.method == "dapt":
            work, side, batch = (Work(4), 32, 1) if quick else (Work(), 224, 4)
            sides, batches = [side, side * 3 // 2, side * 2], [batch, batch * 2, batch * 4, batch * 8]
            found.append(run(case, SIDE, work, ours=sides, plain=sides, **options))
            found.append(run(case, BATCH, work, ours=batches, plain=batches, **options))
    return found
