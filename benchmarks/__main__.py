"""Run every benchmark on random weights at real size (`make bench`). Only ratios within one run are comparable."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import encoding, gpu, growth, inference, markdown, reading, runs, serving, steps

GPU_SECONDS = 280.0
# In the order of the page.
CPU_PARTS = ("steps", "growth", "reading", "encoding", "serving", "inference")


def main(arguments: Sequence[str] | None = None) -> None:
    names = [case.method for case in steps.CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="steps: one step of each method against the plain path; growth: steps and runs as work grows; reading: "
        "photographs; encoding: views of training images; serving: the web service; inference: the service with each "
        "runtime; gpu: steps on a CUDA device, in at most five minutes (default: all but gpu)",
    )
    parser.add_argument("--out", type=Path, help="folder for the tables, as PART.md")
    parser.add_argument(
        "--methods", nargs="*", choices=names, default=names, metavar="NAME", help="methods to measure (default: all)"
    )
    parser.add_argument(
        "--classes", type=int, default=100, help="number of classes in the tables of steps (default: 100)"
    )
    parser.add_argument(
        "--repeats", type=int, default=2, help="interleaved repeats, of which the median is reported (default: 2)"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds of load for each number of clients (default: 10)"
    )
    parser.add_argument("--quick", action="store_true", help="use a tiny model, to check that everything runs")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    options = parser.parse_args(arguments)
    cases = [case for case in steps.CASES if case.method in options.methods]
    quick, threads, load = options.quick, options.threads, options.seconds
    measure: dict[str, Callable[[], str]] = {
        "steps": lambda: step(cases, options.classes, options.repeats, quick=quick),
        "growth": lambda: grow(cases, quick=quick, threads=threads),
        "reading": lambda: photographs(quick=quick),
        "encoding": lambda: markdown.encoding(encoding.run_all(quick=quick, threads=threads)),
        "serving": lambda: markdown.serving(*serving.run_all(quick=quick, threads=threads, seconds=load)),
        "inference": lambda: markdown.inference(inference.run_all(quick=quick, threads=threads, seconds=load)),
        "gpu": lambda: gpu.run_all(quick=quick, seconds=GPU_SECONDS),
    }
    if unknown := set(options.parts) - set(measure):
        parser.error(f"unknown part {min(unknown)!r}; the parts are {', '.join(measure)}")
    if options.write and "gpu" in options.parts:
        parser.error("--write has no place for gpu on the page; use --out")
    for part in options.parts or CPU_PARTS:
        if part == "gpu":
            text = measure[part]()
        else:
            growth.prepare(threads)
            print(f"{part}: {markdown.machine()}", flush=True)
            text = f"{markdown.machine()}.\n\n{measure[part]()}"
        print(f"{text}\n", flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{part}.md").write_text(text + "\n", encoding="utf-8")
        if options.write:
            markdown.write(part, text)


def step(cases: Sequence[steps.Case], classes: int, repeats: int, *, quick: bool) -> str:
    """Measure one step of each method against the plain path and in bf16; return the tables."""
    backbone = steps.backbone_of(quick)
    times = steps.measure_all(backbone, cases, classes=classes, repeats=repeats)
    print("\nThe same in bf16", flush=True)
    rounded = steps.backbone_of(quick, "bf16")
    precisions = steps.compare_all_precisions(backbone, rounded, cases, classes=classes, repeats=repeats)
    return f"{markdown.speed(times, classes)}\n\n{markdown.precision(precisions)}"


def grow(cases: Sequence[steps.Case], *, quick: bool, threads: int) -> str:
    """Measure how steps and whole runs grow; return the tables of the methods that have any."""
    found = growth.run_all(cases, quick=quick, threads=threads)
    parts = [markdown.growth(found)] if found else []
    methods = [case.method for case in cases if case.method in runs.METHODS]
    if methods:
        print("\nWhole runs", flush=True)
        parts.append(markdown.runs(*runs.run_all(methods, quick=quick, threads=threads)))
    return "\n\n".join(parts)


def photographs(*, quick: bool) -> str:
    """Measure reading at each size of input; return the table."""
    small = {"width": 400, "height": 300} if quick else {}
    return markdown.reading([reading.measure(size, **small) for size in reading.SIZES])


if __name__ == "__main__":
    main()
