"""Figures of an inspection, as PNG files."""

import io
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vlprompt.analysis.dispersion import own_mean_distances, pair_distances, prototype_distances
from vlprompt.analysis.drawing import (
    AFTER,
    BEFORE,
    OTHER,
    draw_bars,
    draw_heat,
    draw_histograms,
    draw_norms,
    draw_points,
    draw_shares,
    lighter,
    shortened,
)
from vlprompt.analysis.inspection import Inspection
from vlprompt.analysis.tuned_features import Points, Projection, project
from vlprompt.results.style import COLORS, INK, MARKERS, PAPER, SETTINGS
from vlprompt.utils.files import atomic_write

WIDTH = 7.0  # inches, the width of two columns of a paper
DPI = 200
NAMED = len(COLORS)  # classes with a color in the embedding

logger = logging.getLogger(__name__)


def write_figures(found: Inspection, folder: Path) -> dict[str, Path]:
    """Write a PNG for each part of an inspection that can be drawn.

    Args:
        found: Inspection to draw.
        folder: Folder to write into.

    Returns:
        Path of each file by part, such as "dispersion".

    Examples:
        >>> write_figures(inspect_run("runs/mine"), Path("figures"))  # doctest: +SKIP
    """
    paths = {}
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        drawable = get_font(findfont(FontProperties())).get_charmap()
        if lacking := sorted({sign for name in found.classes.names for sign in name if ord(sign) not in drawable}):
            warnings.filterwarnings("ignore", "Glyph .* missing")
            signs = "".join(lacking[:30])
            logger.warning("the font of the figures lacks %s, so class names with them show boxes", signs)
        for draw in (dispersion, embedding, confusions, attention, norms):
            figure = draw(found)
            if figure is None:
                continue
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=DPI)
            paths[draw.__name__] = folder / f"{draw.__name__}.png"
            atomic_write(paths[draw.__name__], buffer.getvalue())
    return paths


def dispersion(found: Inspection) -> Figure | None:
    """Draw the distances between classes, and from images to their class, before and after tuning."""
    classes, images = found.classes, found.images
    panels = []
    if len(classes.names) > 1:
        panels.append(("Class to class", classes.features.map(pair_distances)))
    if images is not None:
        to_prototype = images.features.map(lambda features: prototype_distances(features, images))
        to_mean = images.features.map(lambda features: own_mean_distances(features, images))
        panels.append(("Image to prototype", to_prototype))
        panels.append(("Image to class mean", to_mean))
    panels = [panel for panel in panels if len(panel[1].before)]
    if not panels:
        return None
    figure = _figure(max(len(panels), 2) * WIDTH / 3, 2.7)
    for axes, (title, values) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        draw_histograms(axes, values.before.numpy(), values.after.numpy())
        _name(axes, title)
        axes.set_xlabel("distance")
    figure.axes[0].set_ylabel("share")
    _legend_both(figure, found if any(change.after is not None for change in found.dispersion.values()) else None)
    return figure


def embedding(found: Inspection) -> Figure | None:
    """Draw images and classes on the same two axes, before and after tuning, with confused classes in color."""
    if found.images is None:
        return None
    shown, gap, labels = project(found.classes, found.images), found.dispersion["modality_gap"], found.images.labels
    sides = [("Frozen model", gap.before, shown.images.before, shown.classes.before)]
    if gap.after is not None:
        sides.append((_tuned(found), gap.after, shown.images.after, shown.classes.after))
    named, across = _named(found), 1 + len(sides)
    low, high = _limits(shown)
    width = WIDTH if len(sides) == 2 else 0.72 * WIDTH
    panel = (width - 0.8) / len(sides)  # both axes have the same scale
    height = panel * (high - low)[1] / (high - low)[0] + 0.95 + 0.2 * -(-(len(named) + 2) // across)
    figure = _figure(width, height)
    panels = figure.subplots(1, len(sides), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, distance, points, centers) in zip(panels, sides, strict=True):
        draw_points(axes, points, centers, labels.numpy(), named)
        _name(axes, f"{title}: modality gap {distance:.2f}")
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set_xlabel(f"component 1 ({shown.explained[0]:.0%} of the variance)")
    panels[0].set_ylabel(f"component 2 ({shown.explained[1]:.0%})")
    style: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.6}
    handles = []
    for label, marker, (color, _) in zip(named, MARKERS, COLORS, strict=False):
        handles.append(Line2D([], [], marker=marker, color=color, label=shortened(found.classes.names[label]), **style))
    handles.append(Line2D([], [], marker="o", color=OTHER, markersize=3, label="images of other classes", **style))
    handles.append(Line2D([], [], marker="o", color=PAPER, mec=INK, markersize=8, label="class embeddings", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=across)
    return figure


def confusions(found: Inspection) -> Figure | None:
    """Draw the most confused pairs of classes, before and after tuning."""
    pairs = found.pairs
    if not pairs:
        return None
    names = [f"{shortened(pair.first)} / {shortened(pair.second)}" for pair in pairs]
    before = [pair.before for pair in pairs if pair.before is not None]
    figure = _figure(WIDTH, 1.0 + 0.36 * len(pairs))
    axes = figure.subplots()
    draw_bars(axes, names, [pair.count for pair in pairs], before or None)
    axes.set_xlabel("test images of either class predicted as the other")
    if before:
        _legend_both(figure, found)
    return figure


def attention(found: Inspection) -> Figure | None:
    """Draw the attention of the output token at every layer: on each prompt, and on all kinds of tokens."""
    towers = found.attention
    if not towers:
        return None
    layers = [len(attention.to_prompts) for attention in towers.values()]
    figure = _figure(WIDTH, 0.5 + sum(1.4 + 0.17 * count for count in layers))
    grid = figure.subplots(len(towers), 2, squeeze=False, height_ratios=[6 + count for count in layers])
    for (left, right), (tower, attention) in zip(grid, towers.items(), strict=True):
        draw_heat(left, attention)
        draw_shares(right, attention)
        _name(left, f"{tower.capitalize()}: {attention.reader} on each prompt")
        _name(right, f"{tower.capitalize()}: {attention.reader} on all tokens")
    if any(attention.own < len(attention.to_prompts) for attention in towers.values()):
        note = "Layers below the dashed line insert no prompts; they process those of the layers above."
        figure.supxlabel(note, fontsize=8)
    return figure


def norms(found: Inspection) -> Figure | None:
    """Draw the norms of prompts and of tokens at each layer."""
    if not found.norms:
        return None
    figure = _figure(WIDTH * len(found.norms) / 2, 2.9 if len(found.norms) > 1 else 3.1)
    for axes, (tower, layers) in zip(
        figure.subplots(1, len(found.norms), squeeze=False).flat, found.norms.items(), strict=True
    ):
        draw_norms(axes, layers)
        _name(axes, f"{tower.capitalize()} tower")
    figure.axes[0].set_ylabel("norm")
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=AFTER, markersize=4, label=f"prompts of {_tuned(found)}"),
        Patch(facecolor=lighter(BEFORE), edgecolor=BEFORE, label="frozen tokens: median, 5% to 95%"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(found.norms))
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))


def _limits(shown: Projection) -> tuple[Points, Points]:
    """Return the smallest and largest coordinates (2,) of all panels, with a margin."""
    every = np.concatenate([*vars(shown.images).values(), *vars(shown.classes).values()])
    low, high = every.min(0), every.max(0)
    margin = 0.05 * (high - low).max()
    return low - margin, high + margin


def _named(found: Inspection) -> list[int]:
    """Return the labels of the classes drawn in color: the most confused ones, then those with the most images."""
    assert found.images is not None
    names = [name for pair in found.pairs for name in (pair.first, pair.second)]
    often = [found.classes.names[label] for label, _ in Counter(found.images.labels.tolist()).most_common()]
    chosen = list(dict.fromkeys([*names, *often]))[:NAMED]
    return [found.classes.names.index(name) for name in chosen]


def _tuned(found: Inspection) -> str:
    return found.record.config.method.name


def _name(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9.5, fontweight="bold", pad=10)


def _legend_both(figure: Figure, found: Inspection | None) -> None:
    """Add a legend of the frozen and, if anything changed, the tuned model."""
    labels = {BEFORE: "frozen model, hand-crafted template"} | ({} if found is None else {AFTER: _tuned(found)})
    handles = [Patch(facecolor=lighter(color), edgecolor=color, label=label) for color, label in labels.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
