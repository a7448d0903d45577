"""Pictures with what methods say of them, as one picture."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vlprompt.data.images import read_image

RIGHT, WRONG = "#1a7f37", "#b3261e"
COLUMNS = 4


@dataclass(frozen=True)
class Shown:
    """One picture: its file, its true class, and the class that each method names."""

    path: Path
    label: str
    guesses: dict[str, str]


def gallery(pictures: list[Shown], *, credit: str) -> bytes:
    """A PNG with the pictures in rows; guesses are marked with a tick or a cross, not by color alone."""
    rows = math.ceil(len(pictures) / COLUMNS)
    lines = 1 + len(pictures[0].guesses)
    layout = ConstrainedLayoutEngine(hspace=0.12)
    figure = Figure(figsize=(2.6 * COLUMNS, (1.9 + 0.2 * lines) * rows + 0.4), layout=layout)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    for axis, picture in zip(axes, pictures, strict=False):
        axis.imshow(read_image(picture.path))
        axis.set_title(picture.label, fontsize=10, fontweight="bold")
        for line, (method, guess) in enumerate(picture.guesses.items()):
            right = guess == picture.label
            axis.text(
                0.5,
                -0.04 - 0.13 * line,
                f"{'✓' if right else '✗'} {method}: {guess}",
                transform=axis.transAxes,
                ha="center",
                va="top",
                fontsize=8,
                color=RIGHT if right else WRONG,
            )
    figure.supxlabel(credit, fontsize=7, color="#555555")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
