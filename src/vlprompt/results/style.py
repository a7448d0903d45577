"""Style of plots: color, marker and line of each method, and matplotlib's settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from vlprompt.results.tables import method_order

# Six colors, each on light and on dark paper. In simulations of color blindness they stay distinct, and each has a
# contrast of at least 3:1 with the paper. Methods that share a color differ in their markers.
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

# Fixed settings, so that a user's matplotlibrc has no effect. Math is off, since class names may have dollar signs.
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
class MethodStyle:
    """Style of a method in plots.

    Attributes:
        number: Unique index of the method.
        color: Color on light paper, as "#rrggbb".
        marker: Marker of matplotlib.
        line: Line style of matplotlib, unique among methods of the same color.
    """

    number: int
    color: str
    marker: str
    line: Any


Styles = Mapping[str, MethodStyle]


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Return a style for each method, which depends only on the set of methods.

    The first 66 styles are distinct. Zero-shot is gray.
    """
    found = {}
    for number, method in enumerate(sorted(set(methods), key=method_order)):
        color, _ = ZERO_SHOT if method == "zero-shot" else COLORS[number % len(COLORS)]
        line = DASHED if method == "zero-shot" else LINES[number // len(COLORS) % len(LINES)]
        found[method] = MethodStyle(number, color, MARKERS[number % len(MARKERS)], line)
    return found


def marker_outline(marker: str) -> str:
    """Return a marker as the `d` of an SVG path, about one unit wide and centered at the origin."""
    style = MarkerStyle(marker)
    steps = []
    for points, code in style.get_path().transformed(style.get_transform()).iter_segments():
        letter = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}.get(code, "Z")
        pairs = [] if letter == "Z" else [f"{x:.3f},{-y:.3f}" for x, y in points.reshape(-1, 2)]
        steps.append(f"{letter}{' '.join(pairs)}")
    return "".join(steps)
