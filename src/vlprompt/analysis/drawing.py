"""Draw one panel of a figure into a pair of axes."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from vlprompt.analysis.attention import Attention
from vlprompt.analysis.norms import LayerNorms
from vlprompt.results.style import COLORS, INK, MARKERS, PAPER, ZERO_SHOT

BEFORE, AFTER, OTHER = ZERO_SHOT[0], COLORS[0][0], "#c4c4c8"
HEAT = LinearSegmentedColormap.from_list("heat", [PAPER, "#b7b4ee", AFTER, "#14124a"])
KINDS = (AFTER, BEFORE, "#d9d9dc", COLORS[1][0])  # colors of the kinds of tokens, prompts first
BINS = 30  # maximum number of bins of a histogram
ROOM = 8  # maximum number of columns of a heat map with numbers in its cells

Values = NDArray[Any]


def lighter(color: str) -> tuple[float, float, float]:
    """Return a lighter color, for areas whose edges have the color itself."""
    red, green, blue = (0.35 * part + 0.65 for part in to_rgb(color))
    return red, green, blue


def shortened(name: str) -> str:
    """Return a class name shortened to fit into a legend."""
    return textwrap.shorten(name, 26, placeholder="…") if len(name) > 26 else name


def draw_histograms(axes: Axes, before: Values, after: Values) -> None:
    """Draw histograms of values (N,) before and after tuning with their means; a single one if nothing changed."""
    both = np.concatenate([before, after])
    low, high = float(both.min()), float(both.max())
    bins = min(BINS, max(8, round(1.2 * len(before) ** 0.5)))
    edges = np.linspace(low, max(high, low + 1e-3), bins + 1)
    shown = [(before, BEFORE, (0, (3, 2))), (after, AFTER, "-")]
    if np.array_equal(before, after):
        shown = shown[:1]
    for values, color, line in shown:
        shares = np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, fill=True, color=(*lighter(color), 0.7), zorder=2)
        axes.stairs(shares, edges, color=color, linewidth=1.2, zorder=3)
        axes.axvline(values.mean(), color=color, linewidth=1.2, linestyle=line, zorder=4)
    axes.set_ylim(top=1.22 * axes.get_ylim()[1])
    taken: list[str] = []
    for mean, color in sorted((float(values.mean()), color) for values, color, _ in shown):
        # The lower mean is labeled on the left of its line and the higher one on the right, if the axes have room.
        place = (mean - low) / (edges[-1] - low)
        if len(shown) == 1:
            side = "right" if place > 0.55 else "left"
        else:
            side = "right" if place > 0.8 or (not taken and place > 0.2) else "left"
        aside, below = (-3 if side == "right" else 3), -2 - 11 * taken.count(side)
        text = f"{mean:.3f}" if len(shown) > 1 else f"{mean:.3f}\nunchanged"
        axes.annotate(
            text,
            (mean, 1),
            (aside, below),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
            color=color,
            fontsize=8.5,
            zorder=5,
        )
        taken.append(side)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5))


def draw_points(axes: Axes, images: Values, classes: Values, labels: Values, named: Sequence[int]) -> None:
    """Draw images (N, 2) as small and classes (C, 2) as large marks; named classes have colors and markers."""
    others = ~np.isin(labels, named)
    axes.scatter(images[others, 0], images[others, 1], s=7, color=OTHER, linewidths=0, zorder=2)
    rest = [label for label in range(len(classes)) if label not in named]
    axes.scatter(
        classes[rest, 0], classes[rest, 1], s=34, color=PAPER, edgecolors=INK, linewidths=0.6, alpha=0.9, zorder=4
    )
    for place, label in enumerate(named):
        style: dict[str, Any] = {"marker": MARKERS[place], "color": COLORS[place][0]}
        own = images[labels == label]
        axes.scatter(own[:, 0], own[:, 1], s=16, linewidths=0.3, edgecolors=PAPER, zorder=3, **style)
        axes.scatter(classes[label, 0], classes[label, 1], s=90, linewidths=0.9, edgecolors=INK, zorder=5, **style)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def draw_bars(axes: Axes, names: Sequence[str], after: Sequence[int], before: Sequence[int] | None) -> None:
    """Draw a bar for each name, from top to bottom, each below the bar before tuning."""
    places, height = np.arange(len(names)), 0.36 if before else 0.62
    rows = [(before, BEFORE, -height / 2)] if before else []
    rows.append((after, AFTER, height / 2 if before else 0.0))
    for values, color, aside in rows:
        axes.barh(places + aside, values, 0.94 * height, color=lighter(color), edgecolor=color, linewidth=0.9)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                str(value), (value, place + aside), (3, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(x=0.06)


def draw_heat(axes: Axes, attention: Attention) -> None:
    """Draw the share of each prompt (columns) at every layer (rows)."""
    values = 100 * np.array(attention.to_prompts)  # (layers, n)
    layers, n = values.shape
    image = axes.imshow(values, cmap=HEAT, vmin=0, aspect="auto", interpolation="nearest")
    ticks = range(1, n + 1, -(-n // ROOM))
    axes.set_xticks([tick - 1 for tick in ticks], [str(tick) for tick in ticks])
    _layers(axes, layers)
    axes.set_xlabel("prompt")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    if n <= ROOM:
        dark = 0.48 * values.max()
        for (layer, number), value in np.ndenumerate(values):
            color = PAPER if value > dark else INK
            axes.text(number, layer, f"{value:.1f}", ha="center", va="center", fontsize=7, color=color)
    if attention.own < layers:
        axes.axhline(attention.own - 0.5, color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=15 + 1.5 * layers)
    bar.outline.set_visible(False)
    bar.set_label("% of attention")


def draw_shares(axes: Axes, attention: Attention) -> None:
    """Draw stacked shares of prompts and of each other kind of token at every layer."""
    layers = len(attention.to_prompts)
    left = np.zeros(layers)
    for (kind, of_kind), color in zip(attention.shares.items(), KINDS, strict=False):
        share = 100 * np.array(of_kind)
        axes.barh(range(layers), share, 0.86, left, color=color, label=kind)
        left += share
    axes.axvline(
        100 * attention.even, color=COLORS[2][0], linewidth=1.2, linestyle=(0, (3, 2)), label="prompts, if uniform"
    )
    axes.set_xlim(0, 100)
    _layers(axes, layers)
    axes.set_ylim(layers - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("% of attention")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.2)


def draw_norms(axes: Axes, layers: Sequence[LayerNorms]) -> None:
    """Draw the norm of each prompt over the range of the tokens' norms: by layer, or by prompt for a single layer."""
    if len(layers) == 1:
        places = np.arange(1, len(layers[0].prompts) + 1)
        bands, points = [(0.4, len(places) + 0.6)], [places.astype(float)]
        axes.set_xlabel("prompt")
    else:
        bands = [(layer - 0.36, layer + 0.36) for layer in range(1, len(layers) + 1)]
        points = [np.linspace(*band, len(norms.prompts) + 2)[1:-1] for band, norms in zip(bands, layers, strict=True)]
        axes.set_xlabel("layer")
    values: list[float] = []
    for norms, band, across in zip(layers, bands, points, strict=True):
        values += norms.prompts
        if norms.tokens is not None:
            low, high = norms.tokens.low, norms.tokens.high
            axes.fill_between(band, low, high, color=lighter(BEFORE), linewidth=0, zorder=2)
            axes.plot(band, [norms.tokens.median] * 2, color=BEFORE, linewidth=1.4, zorder=3)
            values += [low, high]
        size = 4 if len(norms.prompts) <= 40 else 2
        style: dict[str, Any] = {"markersize": size, "color": AFTER, "markeredgecolor": PAPER, "markeredgewidth": 0.4}
        axes.plot(across, norms.prompts, "o", zorder=4, **style)
    _norm_axis(axes, values)
    axes.set_xlim(bands[0][0] - 0.1, bands[-1][1] + 0.1)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")


def _norm_axis(axes: Axes, values: Sequence[float]) -> None:
    """Scale the axis of norms: from zero, or logarithmic if prompts and tokens differ too much."""
    low, high = min(values), max(values)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.6, high * 1.6)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.08 * high or 1.0)


def _layers(axes: Axes, layers: int) -> None:
    """Label the layers, the first at the top."""
    axes.set_yticks([tick - 1 for tick in _ticks(layers)], [str(tick) for tick in _ticks(layers)])
    axes.set_ylabel("layer")


def _ticks(layers: int) -> list[int]:
    step = 1 if layers <= 12 else 2
    return list(range(1, layers + 1, step))
