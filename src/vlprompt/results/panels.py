"""Draw one panel of a plot into a pair of axes."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from vlprompt.results.comparisons import Difference
from vlprompt.results.style import INK, PAPER, RULE, MethodStyle, Styles
from vlprompt.results.tables import Value

LEAST_SECONDS = 0.1
LEAST_POINTS = 4.0  # smallest range of accuracy on an axis, so that noise does not look like a difference
WIDTH, HEIGHT = 3.4, 2.6  # size of a panel in inches


@dataclass(frozen=True)
class Point:
    """Mean and standard deviation over seeds; the standard deviation is 0 for a single seed."""

    mean: float
    std: float

    @classmethod
    def of(cls, value: Value) -> "Point | None":
        """Return the point of a table's value, or None if runs are missing."""
        return None if value.sample is None else cls(value.sample.mean, value.sample.std or 0.0)


def draw_shots(axes: Axes, curves: Mapping[str, Mapping[int, Point | None]], styles: Styles) -> None:
    """Draw accuracy against shots: one line per method, interrupted where runs are missing.

    Lines are shifted sideways slightly, so that their error bars do not overlap. Zero-shot is dashed.
    """
    shots = sorted({count for curve in curves.values() for count in curve})
    methods = [method for method in curves if method != "zero-shot"]
    gaps = np.diff(np.log2(shots))
    step = min(0.09, 0.3 * (gaps.min() if len(gaps) else 1.0) / max(len(methods), 1))
    for place, method in enumerate(methods):
        points = [curves[method].get(count) for count in shots]
        aside = 2.0 ** (step * (place - (len(methods) - 1) / 2))
        _line(axes, [count * aside for count in shots], points, styles[method])
    if "zero-shot" in curves:
        points = [curves["zero-shot"].get(count) for count in shots]
        means = [np.nan if point is None else point.mean for point in points]
        own = styles["zero-shot"]
        alone = own.marker if np.isfinite(means).sum() == 1 else None
        drawn: dict[str, Any] = {"linestyle": own.line, "color": own.color, "linewidth": 1.4}
        (line,) = axes.plot(shots, means, marker=alone, zorder=1.9, **drawn)
        line.set_gid(f"method-{own.number}")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(shots))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_ylim(*_widened(axes.get_ylim()))
    axes.set_xlabel("training images per class")
    axes.set_ylabel("accuracy, %")


def draw_base_new(axes: Axes, points: Mapping[str, tuple[Point, Point]], styles: Styles) -> None:
    """Draw new against base accuracy, one point per method, with curves of equal harmonic mean."""
    places = {method: (base.mean, new.mean) for method, (base, new) in points.items()}
    covered = _covered(places, (LEAST_POINTS, LEAST_POINTS))
    for method, (base, new) in points.items():
        _marked(axes, *places[method], styles[method], across=base.std, up=new.std, around=covered[method])
    axes.margins(0.12)
    axes.autoscale_view()
    left, right = axes.set_xlim(*_widened(axes.get_xlim()))
    bottom, top = axes.set_ylim(*_widened(axes.get_ylim()))
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ends = [2 * a * b / (a + b) if a + b > 0 else 0.0 for a, b in ((left, bottom), (right, top))]
    for mean in MaxNLocator(8, steps=[1, 2, 4, 5, 10]).tick_values(*ends):
        _equal_mean(axes, mean, (left, right), (bottom, top))
    axes.set_xlabel("base accuracy, %")
    axes.set_ylabel("new accuracy, %")


def draw_gains(axes: Axes, gains: Mapping[str, Sequence[Difference]], styles: Styles) -> None:
    """Draw each method's gains, from top to bottom: one bar with its interval for each test.

    The bar of a second test is below the first and lighter.
    """
    places, rows = _places(gains)
    for place, (method, found) in zip(places, gains.items(), strict=True):
        height = 0.72 / len(found)
        for number, gain in enumerate(found):
            y, mean = place + height * (number - (len(found) - 1) / 2), gain.sample.mean
            low, high = gain.sample.interval or (mean, mean)
            drawn = [
                *axes.barh(y, mean, height=0.9 * height, color=styles[method].color, alpha=0.45 if number else 0.9),
                *axes.plot([low, high], [y, y], color=PAPER, linewidth=2.6, zorder=2.8, solid_capstyle="butt"),
                *axes.plot([low, high], [y, y], color=INK, linewidth=1.2, zorder=3, solid_capstyle="butt"),
                *axes.plot(mean, y, color=INK, marker="|", markersize=5, zorder=3),  # a gain of 0 has no bar
            ]
            for artist in drawn:
                artist.set_gid(f"method-{styles[method].number}")
    axes.axvline(0, color=INK, linewidth=0.8, zorder=2.5)
    axes.set_yticks(places, [_wrapped(method) for method in gains])
    axes.set_ylim(rows, 0)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, -1.0), max(right, 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("gain in accuracy, points")


def gains_height(gains: Mapping[str, Sequence[Difference]]) -> float:
    """Return the height in inches that the bars and their names need."""
    bars = max(len(found) for found in gains.values())
    return 0.65 + (0.16 + 0.08 * bars) * _places(gains)[1]


def draw_time(axes: Axes, points: Mapping[str, tuple[float, Point]], styles: Styles, quantity: str) -> None:
    """Draw accuracy against training time in seconds; zero-shot, which needs none, is a dashed line."""
    places = {
        method: (max(taken, LEAST_SECONDS), accuracy.mean)
        for method, (taken, accuracy) in points.items()
        if method != "zero-shot"
    }
    covered = _covered({method: (np.log10(x), y) for method, (x, y) in places.items()}, (0.5, LEAST_POINTS))
    for method, (_, accuracy) in points.items():
        style = styles[method]
        if method == "zero-shot":
            line = axes.axhline(accuracy.mean, linestyle=style.line, color=style.color, linewidth=1.4, zorder=1.9)
            line.set_gid(f"method-{style.number}")
        else:
            _marked(axes, *places[method], style, across=0.0, up=accuracy.std, around=covered[method])
    axes.set_xscale("log")
    seconds = np.log10([taken for taken, _ in places.values()])
    middle, decades = (seconds.min() + seconds.max()) / 2, max(np.ptp(seconds) + 0.3, 0.8)
    axes.set_xlim(10 ** (middle - decades / 2), 10 ** (middle + decades / 2))
    axes.set_ylim(*_widened(axes.get_ylim()))
    parts = (1, 2, 5) if decades < 1.6 else (1, 3) if decades < 3 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=parts))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlabel("preparing and training, seconds")
    axes.set_ylabel(f"{quantity}, %")


def marker_size(style: MethodStyle, usual: float) -> float:
    """Return a marker's size in points; markers that cover little area are enlarged."""
    return usual * (1.5 if style.marker == "*" else 1.2 if style.marker in "PX<>^vh" else 1.0)


def _places(gains: Mapping[str, Sequence[Difference]]) -> tuple[list[float], float]:
    """Return the center of each method's row, which is taller for a name of several lines, and the total height."""
    heights = [0.35 + 0.65 * (_wrapped(method).count("\n") + 1) for method in gains]
    ends = np.cumsum(heights)
    return [float(end - height / 2) for end, height in zip(ends, heights, strict=True)], float(ends[-1])


def _line(axes: Axes, x: list[float], points: list[Point | None], style: MethodStyle) -> None:
    means = [np.nan if point is None else point.mean for point in points]
    stds = [np.nan if point is None else point.std for point in points]
    (line,) = axes.plot(
        x,
        means,
        color=style.color,
        linestyle=style.line,
        marker=style.marker,
        markersize=marker_size(style, 5),
        markeredgecolor=PAPER,
        markeredgewidth=0.6,
        linewidth=1.4,
        zorder=3,
    )
    line.set_gid(f"method-{style.number}")
    if np.nansum(stds) > 0:
        low, high = np.subtract(means, stds), np.add(means, stds)
        spread = axes.vlines(x, low, high, colors=style.color, linewidth=1.0, alpha=0.8, zorder=2)
        spread.set_gid(f"method-{style.number}")


def _covered(places: Mapping[str, tuple[float, float]], least: tuple[float, float]) -> dict[str, int]:
    """Return the number of later points that cover each method's point.

    Args:
        places: Coordinates of the points in drawing order.
        least: Smallest range of each axis.
    """
    if not places:
        return {}
    points = np.array(list(places.values()))  # (M, 2)
    shares = (points[:, None] - points) / np.maximum(np.ptp(points, axis=0), least)
    same = (np.abs(shares) < 0.015).all(-1)
    return dict(zip(places, np.triu(same, 1).sum(1).tolist(), strict=True))


def _marked(axes: Axes, x: float, y: float, style: MethodStyle, *, across: float, up: float, around: int) -> None:
    """Draw a point with its error bars, large enough to be visible around the points that cover it."""
    bar: dict[str, Any] = {"color": style.color, "linewidth": 1.0, "alpha": 0.8, "zorder": 2}
    drawn = axes.plot([x - across, x + across], [y, y], **bar) if across else []
    drawn += axes.plot([x, x], [y - up, y + up], **bar) if up else []
    drawn += axes.plot(
        [x],
        [y],
        style.marker,
        markersize=marker_size(style, 7 + 6 * around),
        color=style.color,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        zorder=3,
    )
    for artist in drawn:
        artist.set_gid(f"method-{style.number}")


def _equal_mean(axes: Axes, mean: float, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Draw the curve of one harmonic mean, labeled where it leaves the axes at the right or at the top."""
    left, right = across
    bottom, top = up
    x = np.linspace(max(left, 0.501 * mean), right, 200)  # at half the mean the curve is vertical
    if mean <= 0 or x[0] >= right:
        return
    y = mean * x / (2 * x - mean)
    inside = (y >= bottom) & (y <= top)
    if inside.sum() < 2:
        return
    axes.plot(x[inside], y[inside], color=RULE, linewidth=0.9, zorder=1)
    label: dict[str, Any] = {"fontsize": 8, "color": INK, "alpha": 0.75, "annotation_clip": False}
    if inside[-1]:
        axes.annotate(f"H {mean:g}", (right, y[-1]), (3, 0), textcoords="offset points", va="center", **label)
    elif 2 * top > mean and left <= mean * top / (2 * top - mean) <= right:
        there = mean * top / (2 * top - mean)
        axes.annotate(f"H {mean:g}", (there, top), (0, 2), textcoords="offset points", ha="center", **label)


def _widened(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits within 0 and 100 that span at least `LEAST_POINTS`."""
    middle, half = sum(limits) / 2, max(limits[1] - limits[0], LEAST_POINTS) / 2
    return max(middle - half, 0.0), min(middle + half, 100.0)


def _wrapped(method: str) -> str:
    """Return a long label on several lines, broken at commas and brackets."""
    spaced = method.replace("[", " [").replace(",", ", ")
    lines = textwrap.wrap(spaced, 22, break_on_hyphens=False)
    return "\n".join(line.replace(" [", "[").replace(", ", ",") for line in lines)
