"""`make bench`: every benchmark, on random weights at real size. What counts is the ratios within one run."""

import argparse
from collections.abc import Sequence

from benchmarks import growth, methods, precision, report, serving

COUNTS = [10, 25, 100, 200, 500, 1000]
PLAIN_COUNTS = [25, 50, 100, 200]
GROWING = ["coop", "cocoop", "dapt", "promptsrc"]


def main(arguments: Sequence[str] | None = None) -> None:
    names = [case.method for case in methods.CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--methods", nargs="*", choices=names, default=names, metavar="NAME", help="only these")
    parser.add_argument("--classes", type=int, default=100, help="classes of the table of steps")
    parser.add_argument("--repeats", type=int, default=2, help="interleaved repeats whose median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="that each number of clients loads the service")
    parser.add_argument("--quick", action="store_true", help="a tiny model: whether it runs, not how fast")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args(arguments)
    cases = [case for case in methods.CASES if case.method in options.methods]

    growth.prepare(options.threads)
    print(report.machine())
    print(f"\nOne training step, {options.classes} classes", flush=True)
    backbone = methods.backbone_of(options.quick)
    rows = methods.run(backbone, cases, classes=options.classes, repeats=options.repeats)
    print("\nThe same in bf16", flush=True)
    rounded = methods.backbone_of(options.quick, "bf16")
    halves = precision.run(backbone, rounded, cases, classes=options.classes, repeats=options.repeats)

    ours, plain = ([4, 6, 8], [4, 6]) if options.quick else (COUNTS, PLAIN_COUNTS)
    found = []
    for case in cases:
        if case.method in GROWING:
            # A context per image multiplies the plain way's sentences; 200 classes do not fit.
            counts = [count for count in plain if case.method != "cocoop" or count <= 100]
            found.append(growth.run(case, ours=ours, plain=counts, quick=options.quick, threads=options.threads))
    print("\nThe web service", flush=True)
    served = serving.run_all(quick=options.quick, threads=options.threads, seconds=options.seconds)
    if options.write:
        parts = [report.machine() + ".", report.speed(rows, options.classes), report.precision(halves)]
        report.write("\n\n".join([*parts, *([report.growth(found)] if found else []), report.serving(*served)]))


if __name__ == "__main__":
    main()
