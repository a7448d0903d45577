"""Markdown tables of the measurements, and the page that shows them."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.encoding import Encoding
from benchmarks.growth import Growth
from benchmarks.inference import CLIENTS, LOAD, Served
from benchmarks.reading import VIEWS, Reading
from benchmarks.runs import SHOWN, GridRuns, Training
from benchmarks.serving import CLASSES, Drain, Rates
from benchmarks.steps import PrecisionTimes, StepTimes

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


def machine() -> str:
    """Return processor, threads, torch and date in one line."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or no model name
    threads = torch.get_num_threads()
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"{processor} ({capability}), {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}, fp32, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table: first column left-aligned, the others right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed(rows: Sequence[StepTimes], classes: int) -> str:
    """Format the table of steps."""

    def ratio(value: float | None, aim: float | None) -> str:
        if value is None:
            return "–"
        text = f"{value:.1f}x"
        if aim is None:
            return text
        return f"{text} of {aim:g}x" if value >= aim else f"**{text}** of {aim:g}x"

    lines = [
        [
            f"`{row.case.method}`",
            row.learned or "–",
            str(row.case.batch),
            f"{row.plain:.2f}",
            f"{row.ours:.2f}",
            ratio(row.ratio, row.case.aim),
            f"{row.floor:.2f}",
            f"{row.plain / row.floor:.1f}x",
            "–" if row.cached is None else f"{row.cached:.2f}",
            ratio(row.cached_ratio, row.case.cached_aim),
        ]
        for row in rows
    ]
    head = ["method", "n", "batch", "plain s", "ours s", "ratio of aim", "image tower s", "at most"]
    return f"{classes} classes.\n\n" + table([*head, "cached s", "ratio of aim"], lines)


def precision(rows: Sequence[PrecisionTimes]) -> str:
    """Format the table of precisions."""
    lines = [
        [f"`{row.case.method}`", f"{row.fp32:.2f}", f"{row.bf16:.2f}", f"{row.ratio:.1f}x", f"{row.apart:.1%}"]
        for row in rows
    ]
    about = "Ours in bf16 (`--set backbone.precision=bf16`) beside ours in fp32, and how far apart their gradients are."
    return f"{about}\n\n{table(['method', 'fp32 s', 'bf16 s', 'ratio', 'gradients apart'], lines)}"


def growth(found: Sequence[Growth]) -> str:
    """Format the tables of growth, one for each method and quantity."""
    parts = []
    for each in found:
        measured = {point.size: point for point in each.plain}
        lines = []
        for point in each.ours:
            plain, note = measured.get(point.size), ""
            if plain is None and point.size > min(measured):
                plain, note = each.fitted(point.size), " fitted"
            lines.append(
                [
                    str(point.size),
                    f"{plain.seconds:.1f}{note}" if plain else "–",
                    f"{point.seconds:.2f}",
                    f"{plain.seconds / point.seconds:.1f}x" if plain else "–",
                    f"{plain.mb:.0f}{note}" if plain else "–",
                    f"{point.mb:.0f}",
                    f"{plain.mb / point.mb:.1f}x" if plain and point.mb else "–",
                ]
            )
        name, work = each.quantity.name, each.work
        fixed = {"classes": f"{work.classes} classes", "batch": f"batch {work.batch or each.case.batch}"}
        others = ", ".join([f"`{each.case.method}`", *(text for key, text in fixed.items() if key != name)])
        sizes = ", ".join(str(size) for size in measured)
        head = [name, "plain s", "ours s", "ratio", "plain MB", "ours MB", "ratio"]
        trends = f"Ours: {each.quantity.trend(each.ours)}.\nPlain: {each.quantity.trend(each.plain)}."
        title = f"{others}; the plain path measured at {name} {sizes}"
        parts.append(f"{title}\n\n{table(head, lines)}\n\n{trends}")
    return "\n\n".join(parts)


def runs(trainings: Sequence[Training], grids: Sequence[GridRuns]) -> str:
    """Format the tables of whole runs: trainings by shots and epochs, and a grid by workers."""
    lines = [
        [
            f"`{row.method}`",
            str(row.shots),
            str(row.epochs),
            str(row.point.size),
            f"{row.point.seconds:.1f}",
            f"{1e3 * row.point.seconds / row.point.size:.1f}",
            f"{row.point.mb:.0f}",
        ]
        for row in trainings
    ]
    head = ["method", "shots", "epochs", "images shown", "seconds", "ms per image", "MB"]
    trends = [
        f"`{method}`: {SHOWN.trend([row.point for row in trainings if row.method == method])}."
        for method in dict.fromkeys(row.method for row in trainings)
    ]
    first = grids[0]
    workers = [
        [str(row.workers), f"{row.seconds:.1f}", f"{first.seconds / row.seconds:.2f}x", f"{row.mb:.0f}"]
        for row in grids
    ]
    return "\n\n".join(
        [
            "Whole runs with the embedded model, from drawing the shots to the test.",
            table(head, lines),
            *trends,
            f"A grid of {first.runs} runs of `{first.method}` with {trainings[-1].shots} shots.",
            table(["workers", "seconds", "ratio", "MB of a process"], workers),
        ]
    )


def reading(rows: Sequence[Reading]) -> str:
    """Format the table of reading photographs."""
    lines = [
        [
            f"{row.size} px",
            f"{1e3 * row.whole:.0f}",
            f"{1e3 * row.small:.0f}",
            f"{1e3 * row.view:.2f}",
            f"{row.later_epochs:.0f}x",
            f"{row.several_views:.0f}x",
            f"{row.apart:.1f} ({row.most:.0f})",
        ]
        for row in rows
    ]
    head = ["input", "whole ms", "small ms", "view ms", "later epochs", f"{VIEWS} views", "apart of 255"]
    about = """\
Photographs of 12 megapixels (JPEG), CPU time of one thread: *whole* decodes all pixels and cuts a random view, *small*
decodes at the size that is needed, *view* cuts a view of that from memory. Ratios are to *whole* for every view.
*apart* is the mean (and largest) difference between the values of a view and of the same view of the whole image."""
    return f"{about}\n\n{table(head, lines)}"


def encoding(rows: Sequence[Encoding]) -> str:
    """Format the table of encoding views."""
    lines = [
        [
            f"OpenVINO {row.precision}" if row.precision else "PyTorch fp32",
            f"{1e3 * row.view:.0f}",
            f"{row.ratio:.1f}x",
            f"{row.conversion:.0f}" if row.precision else "–",
            f"{row.break_even:.0f}" if row.precision else "–",
        ]
        for row in rows
    ]
    head = ["image tower", "ms a view", "ratio", "conversion s", "break-even views"]
    about = """\
Time to read an image (a JPEG of 256 x 256 pixels), cut a view and encode it. *conversion* is the time to convert the
image tower, once in a process, and *break-even views* the number of views (images times views of each) whose encoding
saves as much."""
    return f"{about}\n\n{table(head, lines)}"


def serving(rows: Sequence[Rates], drain: Drain) -> str:
    """Format the table of the web service."""
    lines = [
        [
            "one by one" if row.batch_size == 1 else f"up to {row.batch_size}",
            str(row.clients),
            f"{row.rate:.1f}",
            f"{row.p50:.0f}",
            f"{row.p99:.0f}",
            str(sum(row.statuses.values()) - row.statuses.get(200, 0)),
        ]
        for row in rows
    ]
    head = ["images at a time", "clients", "answers a second", "p50 ms", "p99 ms", "refused"]
    about = (
        f"The web service: CoOp's prompts, {CLASSES} classes, one image per request, clients on the same machine.\n"
        f"When told to stop under the load of {rows[-1].clients} clients, it had accepted {drain.taken:,} requests and "
        f"answered {drain.arrived:,};\nstopping took {drain.seconds:.1f} s."
    )
    return f"{about}\n\n{table(head, lines)}"


def inference(rows: Sequence[Served]) -> str:
    """Format the table of the service with each runtime."""
    lines = [
        [
            f"{row.runtime} {row.precision}",
            "–" if row.size is None else f"{row.size:.0f}",
            f"{row.rate:.1f}",
            f"{row.relative:.1f}x",
            f"{row.p50:.0f}",
            f"{row.p99:.0f}",
        ]
        for row in rows
    ]
    head = ["runtime", "MB", "answers a second", "to open_clip", "p50 ms", "p99 ms"]
    about = f"""\
The web service with each runtime, {CLIENTS} clients, beside a loop that decodes, encodes and classifies the same images
one by one with open_clip. Latency is that of evenly spaced requests at {LOAD:.0%} of the rate."""
    return f"{about}\n\n{table(head, lines)}"


def write(part: str, text: str) -> None:
    """Write the tables of a part between its markers on the page."""
    begin, end = BEGIN.format(part), END.format(part)
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise ValueError(f"{PAGE.name} has no {begin}")
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
