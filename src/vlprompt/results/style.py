"""What methods look like in plots: a color, a marker and a line for each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from vlprompt.results.tables import method_order

# Six colors that stay apart for people who see two of the primaries as one, in simulation, each with at least three
# times the paper's contrast; markers tell apart those who come to share one. On light and on dark paper.
COLORS = (
    ("#3a36c8", "#8f6bff"),
    ("#b98500", "#e6d23c"),
    ("#8f1d1d", "#d9532c"),
    ("#2f9a83", "#35d6a4"),
    ("#d43aa8", "#fb9fd2"),
    ("#4b2a5c", "#5a8f86"),
)
MARKERS = "os^DvPX<*>h"
LINES: tuple[Any, ...] = ("-", (0, (7, 1.5)), (0, (7, 1.5, 1, 1.5)))
DASHED = (0, (3, 3))
ZERO_SHOT = ("#6b6b6b", "#a8a8a8")
INK, PAPER, RULE = "#1b1b1e", "#fffffe", "#d2d2d4"

# matplotlib's own, so that a user's do not change what a plot says; no dollar sign of a class name starts a formula.
SETTINGS: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "errorbar.capsize": 0,
    "figure.facecolor": PAPER,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        number: its place among the methods; no two have the same.
        color: on light paper.
        marker, line: matplotlib's. Lines of the same color differ, too.
    """

    number: int
    color: str
    marker: str
    line: Any


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method, the same for the same methods; the first 66 are unlike. Zero-shot is gray."""
    found = {}
    for number, method in enumerate(sorted(set(methods), key=method_order)):
        color, _ = ZERO_SHOT if method == "zero-shot" else COLORS[number % len(COLORS)]
        line = DASHED if method == "zero-shot" else LINES[number // len(COLORS) % len(LINES)]
        found[method] = Look(number, color, MARKERS[number % len(MARKERS)], line)
    return found


def marker_outline(marker: str) -> str:
    """A marker as the `d` of an SVG path, about one unit wide around the origin."""
    style = MarkerStyle(marker)
    steps = []
    for points, code in style.get_path().transformed(style.get_transform()).iter_segments():
        letter = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}.get(code, "Z")
        pairs = [] if letter == "Z" else [f"{x:.3f},{-y:.3f}" for x, y in points.reshape(-1, 2)]
        steps.append(f"{letter}{' '.join(pairs)}")
    return "".join(steps)
