"""Whole runs with the embedded model: their time by shots and epochs, and that of a grid on one and two workers.

Every measurement has a process and a cache of its own, so that no run reads what an earlier one has encoded.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor

from benchmarks.growth import Point, Quantity
from benchmarks.processes import in_process
from benchmarks.steps import seconds
from vlprompt import load_backbone, run_experiment
from vlprompt.config.resolve import resolve_config
from vlprompt.experiments.engines.local import Processes
from vlprompt.experiments.plan import plan_grid
from vlprompt.runs.record import read_record
from vlprompt.training.memory import peak_memory_mb, reset_peak_memory
from vlprompt.utils.progress import Reporter

METHODS = ("coop", "dapt")
# Classes that can be learned: a run that learns nothing warns of it.
COLORS = {
    name: ImageColor.getrgb(name)
    for name in ("red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown")
}
TESTED = 2  # test images per class
SEEDS = (1, 2, 3, 4)  # one run of the grid each
WORKERS = (1, 2)
SHOWN = Quantity("images", "1,000 images", 1000)  # each image counts once an epoch


@dataclass(frozen=True)
class Size:
    """Size of the runs: classes, numbers of shots, and epochs."""

    classes: int
    shots: tuple[int, ...]
    epochs: int


QUICK, WHOLE = Size(3, (1, 2), 1), Size(10, (1, 4, 16), 8)


@dataclass(frozen=True)
class Training:
    """A whole run: drawing shots, training, and testing; the point's size is the number of images shown."""

    method: str
    shots: int
    epochs: int
    point: Point


@dataclass(frozen=True)
class GridRuns:
    """Seconds of all runs of a grid, and the peak memory in MB of a process that ran some, libraries included."""

    method: str
    workers: int
    runs: int
    seconds: float
    mb: float


def trainings(method: str, size: Size, threads: int) -> list[Training]:
    """Run trainings with each number of shots, and the last one with twice the epochs, in this process."""
    torch.set_num_threads(threads)
    backbone = load_backbone("embedded", device="cpu")
    reset_peak_memory(backbone.device)  # as each run does, so that both peaks begin at what is loaded
    weights = peak_memory_mb(backbone.device) or 0.0
    found = []
    with TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "images", size.classes, size.shots[-1])
        # The first one warms the process up, and is not reported.
        planned = [(1, 1), *((shots, size.epochs) for shots in size.shots), (size.shots[-1], 2 * size.epochs)]
        for number, (shots, epochs) in enumerate(planned):
            os.environ["VLPROMPT_CACHE"] = f"{folder}/cache-{number}"
            settings = {**_settings(size, epochs), "data.source": str(images), "data.shots": shots}
            config = resolve_config(method=method, settings=settings)
            run = partial(run_experiment, config, f"{folder}/run-{number}", backbone=backbone)
            taken, record = seconds(run)
            point = Point(shots * size.classes * epochs, taken, (record.peak_memory_mb or 0.0) - weights)
            found.append(Training(method, shots, epochs, point))
    return found[1:]


def grid(workers: int, method: str, size: Size, threads: int) -> GridRuns:
    """Run a grid of one method with the most shots; the workers share the threads of this process."""
    torch.set_num_threads(threads)
    with TemporaryDirectory() as folder:
        os.environ["VLPROMPT_CACHE"] = f"{folder}/cache"
        images = write_images(Path(folder) / "images", size.classes, size.shots[-1])
        planned = plan_grid(
            "few-shot",
            [method],
            [str(images)],
            shots=[size.shots[-1]],
            seeds=SEEDS,
            out=f"{folder}/runs",
            settings=_settings(size, size.epochs),
        )
        engine = None if workers == 1 else Processes(workers, planned.cells[0].config.runtime)
        taken, failed = seconds(partial(planned.run, Reporter(quiet=True), engine))
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(planned.cells)} runs failed: {next(iter(failed.values()))}")
        peaks = [read_record(cell.folder).peak_memory_mb or 0.0 for cell in planned.cells]
    return GridRuns(method, workers, len(planned.cells), taken, max(peaks))


def run_all(methods: Sequence[str], *, quick: bool, threads: int) -> tuple[list[Training], list[GridRuns]]:
    """Measure trainings of the methods, and a grid of the last one; print as results arrive."""
    size = QUICK if quick else WHOLE
    found: list[Training] = []
    for method in methods:
        rows = in_process(trainings, method, size, threads)
        for row in rows:
            print(f"{method:6} {row.shots:2} shots, {row.epochs:2} epochs: {row.point.seconds:6.2f} s", flush=True)
        print(f"{method:6} {SHOWN.trend([row.point for row in rows])}", flush=True)
        found += rows
    grids = []
    for workers in WORKERS:
        grids.append(in_process(grid, workers, methods[-1], size, threads))
        print(f"{grids[-1].runs} runs, workers {workers}: {grids[-1].seconds:.1f} s", flush=True)
    return found, grids


def write_images(folder: Path, classes: int, shots: int) -> Path:
    """Write a dataset of noisy colors with 64 px, the size of the embedded model's input."""
    generator = np.random.default_rng(0)
    for name, color in islice(COLORS.items(), classes):
        for split, count in (("train", shots), ("test", TESTED)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                noise = generator.normal(color, 40, (64, 64, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(noise).save(place / f"{number}.png")
    return folder


def _settings(size: Size, epochs: int) -> dict[str, Any]:
    """Return settings whose batches divide the images, so that steps grow with them."""
    return {
        "backbone.source": "embedded",
        "optim.epochs": epochs,
        "optim.batch_size": size.classes,
        "optim.warmup_epochs": 0,
        "runtime.device": "cpu",
    }
