"""Run every benchmark on random weights at real size (`make bench`). Only ratios within one run are comparable."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import gpu, growth, markdown, reading, runs, serving, steps

GPU_SECONDS = 280.0


def main(arguments: Sequence[str] | None = None) -> None:
    names = [case.method for case in steps.CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "part",
        nargs="?",
        choices=["cpu", "growth", "gpu"],
        default="cpu",
        help="cpu: steps and growth against the plain path, and the service (default); growth: only the growth of "
        "steps and runs; gpu: steps on a CUDA device, in at most five minutes",
    )
    parser.add_argument("--out", type=Path, help="folder for the tables of `growth` or `gpu`, as growth.md or gpu.md")
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
    if options.part != "cpu":
        if options.part == "gpu":
            text = gpu.run_all(quick=options.quick, seconds=GPU_SECONDS)
        else:
            text = "\n\n".join(grow(cases, quick=options.quick, threads=options.threads))
        print(text)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{options.part}.md").write_text(text + "\n", encoding="utf-8")
        return
    amount = {"classes": options.classes, "repeats": options.repeats}

    growth.prepare(options.threads)
    print(markdown.machine())
    print(f"\nOne training step, {options.classes} classes", flush=True)
    backbone = steps.backbone_of(options.quick)
    times = steps.measure_all(backbone, cases, **amount)
    print("\nThe same in bf16", flush=True)
    rounded = steps.backbone_of(options.quick, "bf16")
    precisions = steps.compare_all_precisions(backbone, rounded, cases, **amount)

    grown = grow(cases, quick=options.quick, threads=options.threads)
    print("\nReading photographs", flush=True)
    read = [reading.measure(size, **({"width": 400, "height": 300} if options.quick else {})) for size in reading.SIZES]
    print(markdown.reading(read), flush=True)
    print("\nThe web service", flush=True)
    served = serving.run_all(quick=options.quick, threads=options.threads, seconds=options.seconds)
    if options.write:
        parts = [markdown.machine() + ".", markdown.speed(times, options.classes), markdown.precision(precisions)]
        markdown.write("\n\n".join([*parts, *grown, markdown.reading(read), markdown.serving(*served)]))


def grow(cases: Sequence[steps.Case], *, quick: bool, threads: int) -> list[str]:
    """Measure how steps and whole runs grow; return the tables of the methods that have any."""
    found = growth.run_all(cases, quick=quick, threads=threads)
    parts = [markdown.growth(found)] if found else []
    methods = [case.method for case in cases if case.method in runs.METHODS]
    if methods:
        print("\nWhole runs", flush=True)
        parts.append(markdown.runs(*runs.run_all(methods, quick=quick, threads=threads)))
    return parts


if __name__ == "__main__":
    main()
