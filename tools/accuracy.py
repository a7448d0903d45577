"""Compare accuracies of a small fixed grid with committed intervals, so that a change that costs accuracy is seen.

    python -m tools.accuracy             # seeds 1 to 3; exit status 1 if the mean of a test is outside its interval
    python -m tools.accuracy --record    # seeds 1 to 6; new intervals, after a change that is meant to change accuracy

Every method learns the embedded model from four images a class, by the unified recipe. An interval is that of the mean
of three seeds, three standard deviations wide on each side. Every check runs anew, in a temporary folder.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from vlprompt.config.recipes import UNIFIED
from vlprompt.experiments.engines.local import Processes
from vlprompt.experiments.plan import plan_grid
from vlprompt.utils.files import atomic_write
from vlprompt.utils.progress import Reporter

INTERVALS = Path(__file__).parents[1] / "results" / "accuracy.json"
DATASETS = ["pictobench-animals"]
SHOTS = [4]
BUDGET = {
    "backbone.source": "embedded",
    "runtime.threads": 1,
    "optim.epochs": 5,
    "optim.batch_size": 4,
    "optim.lr": 0.005,
}
GRIDS = {
    "base-to-new": [
        "zero-shot",
        "coop",
        "cocoop",
        "kgcoop",
        "prograd",
        "vpt",
        "ivlp",
        "maple",
        "promptsrc",
        "dapt",
        "mudpt",
        "e2mim",
        "clip-lora",
    ],
    "few-shot": ["linear-probe", "tip-adapter", "tip-adapter-f"],
}
CHECKED, RECORDED = (1, 2, 3), (1, 2, 3, 4, 5, 6)
LEAST = 0.5  # half-width in points: methods without randomness have no spread


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.accuracy", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write new intervals")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        found = measure(Path(out), RECORDED if options.record else CHECKED)
    if options.record:
        intervals = {test: interval(values) for test, values in found.items()}
        atomic_write(INTERVALS, json.dumps(intervals, indent=2) + "\n")
        print(f"{INTERVALS}: {len(intervals)} intervals")
        return
    lines, outside = compared(found, json.loads(INTERVALS.read_text(encoding="utf-8")))
    print("\n".join(lines))
    sys.exit(f"{outside} of {len(lines)} accuracies are outside their intervals" if outside else 0)


def measure(out: Path, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Run the grid, and return the accuracies of all seeds in % by "DATASET METHOD TEST"."""
    found: dict[str, list[float]] = {}
    for protocol, methods in GRIDS.items():
        grid = plan_grid(
            protocol, methods, DATASETS, shots=SHOTS, seeds=seeds, out=out, recipe=UNIFIED, settings=BUDGET
        )
        failed = grid.run(Reporter(), Processes(2, grid.cells[0].config.runtime))
        if failed:
            sys.exit(f"{len(failed)} of {len(grid.cells)} runs failed")
        for cell in grid.cells:
            for test, values in grid.records[cell.folder].metrics.items():
                if isinstance(values, Mapping):
                    found.setdefault(f"{cell.dataset} {cell.method} {test}", []).append(values["accuracy"])
    return found


def interval(accuracies: Sequence[float]) -> tuple[float, float]:
    """Return the interval that holds the mean of further seeds, as many as are checked, at three deviations."""
    spread = stdev(accuracies) * math.sqrt(1 / len(CHECKED) + 1 / len(accuracies))
    half = max(LEAST, 3 * spread)
    return round(mean(accuracies) - half, 2), round(mean(accuracies) + half, 2)


def compared(
    found: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]]
) -> tuple[list[str], int]:
    """Return a line for each test, and how many of them are outside their interval or have none."""
    lines, outside = [], 0
    for test in sorted({*found, *intervals}):
        low, high = intervals.get(test, (math.nan, math.nan))
        value = mean(found[test]) if test in found else math.nan
        inside = low <= value <= high
        outside += not inside
        lines.append(f"{'ok     ' if inside else 'OUTSIDE'} {test}: {value:.1f}, interval {low:.1f} to {high:.1f}")
    return lines, outside


if __name__ == "__main__":
    main()
