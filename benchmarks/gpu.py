"""Training steps on a CUDA device: this project's towers against the plain path and against the card's own limit.

Without a CUDA device, or with `--quick`, it runs a tiny model on the CPU: a smoke test, not a measurement.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.markdown import table
from benchmarks.plain_towers import on, plain_backbone
from benchmarks.steps import CASES, Step, backbone_of
from vlprompt import Backbone
from vlprompt.backbones.backbone import Precision
from vlprompt.data.dataset import Item
from vlprompt.data.image_set import ImageSet
from vlprompt.methods.base import Method
from vlprompt.training.batches import batch_order, load_batches
from vlprompt.training.step import Outcome, RecordedStep, StepFunction
from vlprompt.utils.machine import reader_count

COUNTS = (100, 10, 1000)  # most telling first, since the time is limited
METHODS = ("coop", "dapt", "mudpt", "e2mim", "maple", "cocoop", "promptsrc", "clip-lora")
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
BATCH, PLAIN_LIMIT = 32, 200  # images; classes up to which methods that adapt the image tower run the plain path
STEPS = 10


@dataclass(frozen=True)
class Row:
    """Milliseconds of a training step and peak memory beside the weights, of one method.

    Attributes:
        method: its name.
        classes: number of classes.
        precision: precision of the backbone.
        eager: our step.
        graph: our step recorded as a CUDA graph; None where it cannot be.
        plain: the plain path's; None where it was not run.
        floor: FLOPs of our step over the measured rate of matrix products.
        memory, plain_memory: GB beside the weights.
    """

    method: str
    classes: int
    precision: str
    eager: float
    graph: float | None
    plain: float | None
    floor: float
    memory: float
    plain_memory: float | None


def gradients_of(method: Method[Any]) -> StepFunction:
    """Return a function that computes the losses of a batch and the gradients."""

    def take(inputs: Tensor, labels: Tensor, index: Tensor) -> Outcome:
        prediction = method(inputs)
        prediction.extras["index"] = index
        terms = method.loss(prediction, labels)
        method.backward(terms)
        return Outcome(terms, (prediction.logits.argmax(1) == labels).sum(), len(labels))

    return take


def milliseconds(work: Callable[[], Any], device: torch.device, steps: int = STEPS) -> float:
    """Return the mean time of a call, after two that are not counted."""
    for _ in range(2):
        work()
    _wait(device)
    begun = time.perf_counter()
    for _ in range(steps):
        work()
    _wait(device)
    return 1e3 * (time.perf_counter() - begun) / steps


def rate(backbone: Backbone, size: int) -> float:
    """Return the FLOPs a second of a product of square matrices, in the backbone's precision."""
    backbone.set_rounding()
    dtype = next(backbone.model.parameters()).dtype
    a, b = (torch.randn(size, size, device=backbone.device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / (milliseconds(lambda: a @ b, backbone.device) / 1e3)


def measure(name: str, classes: int, backbone: Backbone, product_rate: float, *, steps: int = STEPS) -> Row:
    """Measure one method at a number of classes; text-only methods run on image features."""
    backbone.set_rounding()
    case = next(case for case in CASES if case.method == name)
    step, device = Step(case, backbone, classes, batch=min(BATCH, classes)), backbone.device
    with torch.no_grad():
        inputs = step.images if step.method.adapts_images else backbone.vision(step.images)

    take = gradients_of(step.method)

    def whole(one: StepFunction) -> Callable[[], None]:
        def run() -> None:
            step.optimizer.zero_grad(set_to_none=True)
            one(inputs, step.labels, step.index)
            step.optimizer.step()

        return run

    with FlopCounterMode(display=False) as flops:
        take(inputs, step.labels, step.index)
    with peak(device) as memory:
        eager = milliseconds(whole(take), device, steps)
    graph = None
    if device.type == "cuda":
        recorded = RecordedStep(take, step.method)
        whole(recorded)()
        graph = milliseconds(whole(recorded), device, steps) if recorded.recorded else None
    plain = None
    plain_memory: list[float] = []
    if classes <= PLAIN_LIMIT or (not step.method.adapts_images and name != "cocoop"):
        with on(step.method, plain_backbone(backbone)), peak(device) as plain_memory:
            plain = milliseconds(whole(take), device, steps)
    floor = 1e3 * flops.get_total_flops() / product_rate
    return Row(
        name,
        classes,
        backbone.precision,
        eager,
        graph,
        plain,
        floor,
        memory[0],
        plain_memory[0] if plain_memory else None,
    )


@contextmanager
def peak(device: torch.device) -> Iterator[list[float]]:
    """Append the peak memory of a device within the context, in GB beside what it held before; 0 on a CPU."""
    gc.collect()
    found: list[float] = []
    before = 0
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    yield found
    found.append((torch.cuda.max_memory_allocated(device) - before) / 1e9 if device.type == "cuda" else 0.0)


def waiting(backbone: Backbone, *, images: int, epochs: int, graph: bool) -> tuple[float, float]:
    """Train DAPT on photographs on disk; return images a second, and the share of time spent waiting for them.

    The share is what the same steps save when every batch is the first one.
    """
    step = Step(next(case for case in CASES if case.method == "dapt"), backbone, 100, batch=min(BATCH, images))
    device = backbone.device
    with TemporaryDirectory() as folder:
        for number in range(images):
            noise = torch.randint(0, 255, (6, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
            picture = Image.fromarray(noise.numpy()).resize((2000, 1500), Image.Resampling.BICUBIC)
            picture.save(Path(folder) / f"{number}.jpg")
        items = [Item(f"{number}.jpg", number % 100) for number in range(images)]
        image_set = ImageSet(items, Path(folder), backbone.train_transform)
        image_set.keep(10**10, threads=4)
        orders = [(epoch, batch_order(images, BATCH, epoch)) for epoch in range(epochs + 1)]
        workers = reader_count(None, device.type)
        loaded = load_batches(image_set, orders, device, workers=workers)

        take = gradients_of(step.method)
        one = RecordedStep(take, step.method) if graph else take

        def run(batches: Iterator[list[Tensor]]) -> float:
            _wait(device)
            begun = time.perf_counter()
            for batch in batches:
                step.optimizer.zero_grad(set_to_none=True)
                one(*batch)
                step.optimizer.step()
            _wait(device)
            return time.perf_counter() - begun

        length = len(orders[0][1])
        first = [next(loaded) for _ in range(length)]  # starts the readers
        run(iter(first))  # and records the step
        real = run(loaded)
        still = run(iter([first[0]] * (length * epochs)))
    return length * epochs * step.case.batch / real, max(0.0, 1 - still / real)


def run_all(*, quick: bool, seconds: float) -> str:
    """Measure all methods until the time is over; return the tables as Markdown."""
    end = time.monotonic() + seconds
    cuda = torch.cuda.is_available() and not quick
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else "CPU (a check that it runs)"
    precisions = PRECISIONS if cuda else PRECISIONS[:1]
    parts = [
        f"{name}, torch {torch.__version__}, towers of {'ViT-B/16 size' if cuda else 'a tiny model'}, batch {BATCH}."
    ]
    backbones = {precision: backbone_of(not cuda, precision, device) for precision in precisions}
    rates = {precision: rate(backbone, 8192 if cuda else 256) for precision, backbone in backbones.items()}
    listed = ", ".join(f"{value / 1e12:.3g} in {precision}" for precision, value in rates.items())
    parts.append(f"TFLOP/s of products of square matrices: {listed}.")
    images, share = waiting(backbones[precisions[-1]], images=256 if cuda else 32, epochs=4 if cuda else 1, graph=cuda)
    parts.append(
        f"A training of DAPT in {precisions[-1]}: {images:.0f} images/s, {share:.0%} of the time waiting for images."
    )
    rows: list[Row] = []
    left_out = []
    for classes in COUNTS if cuda else (5,):
        for precision, backbone in backbones.items():
            for method in METHODS if cuda else METHODS[:2]:
                if time.monotonic() > end:
                    left_out.append(f"{method} ({classes}, {precision})")
                    continue
                rows.append(measure(method, classes, backbone, rates[precision], steps=STEPS if cuda else 1))
                print(f"{method:14} {classes:4} classes {precision}: {rows[-1].eager:.1f} ms", flush=True)
    parts.append(steps_table(rows))
    if left_out:
        parts.append(f"Not measured in {seconds:.0f} s: {', '.join(left_out)}.")
    return "\n\n".join(parts)


def steps_table(rows: Sequence[Row]) -> str:
    """Format the table of steps."""

    def number(value: float | None, digits: int = 1) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    lines = []
    for row in rows:
        best = min(row.eager, row.graph or row.eager)
        lines.append(
            [
                f"`{row.method}`",
                str(row.classes),
                row.precision,
                number(row.eager),
                number(row.graph),
                number(row.plain),
                "–" if row.plain is None else f"{row.plain / best:.1f}x",
                f"{row.floor / best:.0%}",
                number(row.memory, 2),
                number(row.plain_memory, 2),
            ]
        )
    head = [
        "method",
        "classes",
        "precision",
        "eager ms",
        "graph ms",
        "plain ms",
        "ratio",
        "of the rate",
        "GB",
        "plain GB",
    ]
    return table(head, lines)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
