"""One training step of every method in bf16 beside fp32, both with this project's towers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from benchmarks.methods import Case, Step, seconds
from vlprompt import Backbone


@dataclass(frozen=True)
class Row:
    """Seconds of a step and their ratio, medians over repeats; `apart` is the relative difference of the gradients."""

    case: Case
    fp32: float
    bf16: float
    ratio: float
    apart: float


def measure(case: Case, exact: Backbone, rounded: Backbone, *, classes: int, repeats: int) -> Row:
    """One row of the table."""
    sides = [Step(case, backbone, classes) for backbone in (exact, rounded)]
    images = sides[0].images
    gradients = [torch.cat([part.flatten() for part in side.run(images)[1]]) for side in sides]
    times = [[seconds(partial(side.run, images))[0] for side in sides] for _ in range(repeats)]
    return Row(
        case=case,
        fp32=median(fp32 for fp32, _ in times),
        bf16=median(bf16 for _, bf16 in times),
        ratio=median(fp32 / bf16 for fp32, bf16 in times),
        apart=((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item(),
    )


def run(exact: Backbone, rounded: Backbone, cases: Sequence[Case], *, classes: int, repeats: int) -> list[Row]:
    """Rows of the table, each printed as it comes."""
    rows = []
    for case in cases:
        row = measure(case, exact, rounded, classes=classes, repeats=repeats)
        print(
            f"{case.method:14} fp32 {row.fp32:5.2f} s, bf16 {row.bf16:5.2f} s = {row.ratio:.1f}x, "
            f"gradients {row.apart:.1%} apart",
            flush=True,
        )
        rows.append(row)
    return rows
