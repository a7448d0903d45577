"""One plot each: what is drawn into a pair of axes."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from vlprompt.results.comparisons import Difference
from vlprompt.results.style import INK, PAPER, RULE, Look
from vlprompt.results.tables import Value

Looks = Mapping[str, Look]

LEAST_SECONDS = 0.1
LEAST_POINTS = 4.0  # of accuracy that an axis shows, so that noise does not look like a difference
WIDTH, HEIGHT = 3.4, 2.6  # inches, of a panel


@dataclass(frozen=True)
class Point:
    """A mean with its standard deviation over seeds, 0 where there is one seed."""

    mean: float
    std: float

    @classmethod
    def of(cls, value: Value) -> "Point | None":
        """None where the value is not whole."""
        return None if value.sample is None else cls(value.sample.mean, value.sample.std or 0.0)


def draw_shots(axes: Axes, curves: Mapping[str, Mapping[int, Point | None]], looks: Looks) -> None:
    """Accuracy against shots: a line for each method, broken where a number of shots is not finished.

    Lines stand a little beside each other, so that spreads do not lie on one another; zero-shot is dashed.
    """
    shots = sorted({count for curve in curves.values() for count in curve})
    methods = [method for method in curves if method != "zero-shot"]
    gaps = np.diff(np.log2(shots))
    step = min(0.09, 0.3 * (gaps.min() if len(gaps) else 1.0) / max(len(methods), 1))
    for place, method in enumerate(methods):
        points = [curves[method].get(count) for count in shots]
        aside = 2.0 ** (step * (place - (len(methods) - 1) / 2))
        _line(axes, [count * aside for count in shots], points, looks[method])
    if "zero-shot" in curves:
        points = [curves["zero-shot"].get(count) for count in shots]
        means = [np.nan if point is None else point.mean for point in points]
        look = looks["zero-shot"]
        alone = look.marker if np.isfinite(means).sum() == 1 else None
        style: dict[str, Any] = {
            "linestyle": look.line,
            "color": look.color,
            "linewidth": 1.4,
            "marker": alone,
            "zorder": 1.9,
        }
        (line,) = axes.plot(shots, means, **style)
        line.set_gid(f"method-{look.number}")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(shots))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_ylim(*_widened(axes.get_ylim()))
    axes.set_xlabel("training images per class")
    axes.set_ylabel("accuracy, %")


def draw_base_new(axes: Axes, points: Mapping[str, tuple[Point, Point]], looks: Looks) -> None:
    """New against base accuracy, a point for each method, with curves of equal harmonic mean."""
    places = {method: (base.mean, new.mean) for method, (base, new) in points.items()}
    covered = _covered(places, (LEAST_POINTS, LEAST_POINTS))
    for method, (base, new) in points.items():
        _marked(axes, *places[method], looks[method], across=base.std, up=new.std, around=covered[method])
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


def draw_gains(axes: Axes, gains: Mapping[str, Sequence[Difference]], looks: Looks) -> None:
    """What each method gains, in the order given from top to bottom: a bar with its interval for each test.

    Of two tests the second one's bar is below the first one's, and lighter.
    """
    places, rows = _places(gains)
    for place, (method, found) in zip(places, gains.items(), strict=True):
        height = 0.72 / len(found)
        for number, gain in enumerate(found):
            y, mean = place + height * (number - (len(found) - 1) / 2), gain.sample.mean
            low, high = gain.sample.interval or (mean, mean)
            drawn = [
                *axes.barh(y, mean, height=0.9 * height, color=looks[method].color, alpha=0.45 if number else 0.9),
                *axes.plot([low, high], [y, y], color=PAPER, linewidth=2.6, zorder=2.8, solid_capstyle="butt"),
                *axes.plot([low, high], [y, y], color=INK, linewidth=1.2, zorder=3, solid_capstyle="butt"),
                *axes.plot(mean, y, color=INK, marker="|", markersize=5, zorder=3),  # all there is of a gain of 0
            ]
            for artist in drawn:
                artist.set_gid(f"method-{looks[method].number}")
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
    """Inches that the bars and their names need."""
    bars = max(len(found) for found in gains.values())
    return 0.65 + (0.16 + 0.08 * bars) * _places(gains)[1]


def draw_time(axes: Axes, points: Mapping[str, tuple[float, Point]], looks: Looks, quantity: str) -> None:
    """Accuracy against seconds of training; zero-shot, which takes none, as a dashed line."""
    places = {
        method: (max(taken, LEAST_SECONDS), accuracy.mean)
        for method, (taken, accuracy) in points.items()
        if method != "zero-shot"
    }
    covered = _covered({method: (np.log10(x), y) for method, (x, y) in places.items()}, (0.5, LEAST_POINTS))
    for method, (_, accuracy) in points.items():
        look = looks[method]
        if method == "zero-shot":
            line = axes.axhline(accuracy.mean, linestyle=look.line, color=look.color, linewidth=1.4, zorder=1.9)
            line.set_gid(f"method-{look.number}")
        else:
            _marked(axes, *places[method], look, across=0.0, up=accuracy.std, around=covered[method])
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


def marker_size(look: Look, usual: float) -> float:
    """Points; markers with more corners than area are larger."""
    return usual * (1.5 if look.marker == "*" else 1.2 if look.marker in "PX<>^vh" else 1.0)


def _places(gains: Mapping[str, Sequence[Difference]]) -> tuple[list[float], float]:
    """The middle of each method's row, which is higher where its name has several lines; and the end of the last."""
    heights = [0.35 + 0.65 * (_wrapped(method).count("\n") + 1) for method in gains]
    ends = np.cumsum(heights)
    return [float(end - height / 2) for end, height in zip(ends, heights, strict=True)], float(ends[-1])


def _line(axes: Axes, x: list[float], points: list[Point | None], look: Look) -> None:
    means = [np.nan if point is None else point.mean for point in points]
    stds = [np.nan if point is None else point.std for point in points]
    (line,) = axes.plot(
        x,
        means,
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        markersize=marker_size(look, 5),
        markeredgecolor=PAPER,
        markeredgewidth=0.6,
        linewidth=1.4,
        zorder=3,
    )
    line.set_gid(f"method-{look.number}")
    if np.nansum(stds) > 0:
        low, high = np.subtract(means, stds), np.add(means, stds)
        spread = axes.vlines(x, low, high, colors=look.color, linewidth=1.0, alpha=0.8, zorder=2)
        spread.set_gid(f"method-{look.number}")


def _covered(places: Mapping[str, tuple[float, float]], least: tuple[float, float]) -> dict[str, int]:
    """How many points, which are drawn after it, lie on each method's.

    Args:
        places: across and up, as they are drawn, in the order they are drawn.
        least: what the axes span at least.
    """
    if not places:
        return {}
    points = np.array(list(places.values()))  # (M, 2)
    shares = (points[:, None] - points) / np.maximum(np.ptp(points, axis=0), least)
    same = (np.abs(shares) < 0.015).all(-1)
    return dict(zip(places, np.triu(same, 1).sum(1).tolist(), strict=True))


def _marked(axes: Axes, x: float, y: float, look: Look, *, across: float, up: float, around: int) -> None:
    """A point with its spreads, so large that it can be seen around those that are drawn over it."""
    style: dict[str, Any] = {"color": look.color, "linewidth": 1.0, "alpha": 0.8, "zorder": 2}
    drawn = axes.plot([x - across, x + across], [y, y], **style) if across else []
    drawn += axes.plot([x, x], [y - up, y + up], **style) if up else []
    drawn += axes.plot(
        [x],
        [y],
        look.marker,
        markersize=marker_size(look, 7 + 6 * around),
        color=look.color,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        zorder=3,
    )
    for artist in drawn:
        artist.set_gid(f"method-{look.number}")


def _equal_mean(axes: Axes, mean: float, across: tuple[float, float], up: tuple[float, float]) -> None:
    """The curve of one harmonic mean, named where it leaves at the right or at the top."""
    left, right = across
    bottom, top = up
    x = np.linspace(max(left, 0.501 * mean), right, 200)  # at half the mean the curve is upright
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
    """Limits within 0 and 100 that are not too near to each other."""
    middle, half = sum(limits) / 2, max(limits[1] - limits[0], LEAST_POINTS) / 2
    return max(middle - half, 0.0), min(middle + half, 100.0)


def _wrapped(method: str) -> str:
    """A long variant's name in several lines, broken at its commas and brackets."""
    spaced = method.replace("[", " [").replace(",", ", ")
    lines = textwrap.wrap(spaced, 22, break_on_hyphens=False)
    return "\n".join(line.replace(" [", "[").replace(", ", ",") for line in lines)
