"""Render plots to files, and panels to SVG inside an HTML page."""

import io
import math
import re
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Run
from vlprompt.results.comparisons import compare
from vlprompt.results.panels import WIDTH, marker_size
from vlprompt.results.plots import Panel, Plot, make_plots
from vlprompt.results.quantities import have_predictions
from vlprompt.results.style import COLORS, INK, PAPER, RULE, SETTINGS, ZERO_SHOT, MethodStyle, Styles, method_styles
from vlprompt.results.tables import make_tables, method_order
from vlprompt.utils.files import atomic_write

# CSS variables of the report in place of the colors for light paper, so that plots follow the page's color scheme.
PAGE_COLORS = {
    INK: "var(--ink)",
    PAPER: "var(--panel)",
    RULE: "var(--rule)",
    ZERO_SHOT[0]: "var(--zero-shot)",
    **{color: f"var(--color-{number})" for number, (color, _) in enumerate(COLORS)},
}
# Parts of an SVG file that do not belong inside a page: prolog, comments, global styles, indentation.
FILE_ONLY = re.compile(r"^.*?(?=<svg )|<!--.*?-->|<style.*?</style>|(?<=>)\s+(?=<)", re.DOTALL)
# Changes to each tag: no namespaces or fonts, methods as classes, no ids that figures share, only visible digits.
IN_TAGS = (
    (re.compile(r' xmlns(:\w+)?="[^"]*"| version="1.1"|(?<= )font-family: [^;"]*; |(?<= )xlink:(?=href)'), ""),
    (re.compile(r' id="method-(\d+)"'), r' class="method-\1"'),
    (re.compile(r' id="(?!C\d)[A-Za-z][\w.]*_\d+"'), ""),
    (re.compile(r"(-?\d+\.\d\d)\d+"), r"\1"),
    (re.compile(r"\s+"), " "),
)


def write_plots(runs: Sequence[Run], out: Path, format_: str) -> list[tuple[Path, str]]:
    """Write one file for each plot, with a legend.

    Args:
        runs: Runs from `find_runs`.
        out: Folder to write into.
        format_: "png", "svg" or "pdf".

    Returns:
        Each file's path and description.

    Raises:
        VLPromptError: There is nothing to plot, or a file cannot be written.

    Examples:
        >>> write_plots(find_runs([Path("results")])[0], Path("plots"), "png")  # doctest: +SKIP
    """
    tables = make_tables(runs)
    methods = sorted({run.method for run in runs}, key=method_order)
    gains = compare(runs, methods) if "zero-shot" in methods[:-1] and have_predictions(runs) else []
    plots = make_plots(tables, gains)
    if not plots:
        raise VLPromptError(
            "nothing to plot: a plot needs a method besides zero-shot that has finished all of its seeds"
        )
    names = _file_names(plots)
    made = []
    for plot, name in zip(plots, names, strict=True):
        path = out / f"{name}.{format_}"
        atomic_write(path, render(plot, method_styles(methods), format_))
        made.append((path, f"{plot.conditions.title}: {plot.about}"))
    return made


def render(plot: Plot, styles: Styles, format_: str) -> bytes:
    """Return the content of a file with all panels of a plot."""
    buffer = io.BytesIO()
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format_]
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "vlprompt"}):
        draw(plot, styles).savefig(buffer, format=format_, dpi=150, metadata=metadata)
    return buffer.getvalue()


def draw(plot: Plot, styles: Styles) -> Figure:
    """Return a figure with all panels of a plot, its title and legend wrapped to fit."""
    columns = min(3, math.ceil(math.sqrt(len(plot.panels))))
    rows = -(-len(plot.panels) // columns)
    methods = sorted({method for panel in plot.panels for method in panel.methods}, key=method_order)
    width = columns * WIDTH  # in inches; an inch fits 11 letters of the title, 15 of the notes, 12 of a legend
    title = textwrap.fill(plot.conditions.title, int(width * 11))
    notes = textwrap.fill(plot.note, int(width * 15))
    labels = {method: textwrap.fill(method, int(width * 12 - 6)) for method in methods}
    longest = max(len(line) for label in labels.values() for line in label.splitlines())
    across = max(1, int(width / max(1.7, 0.5 + longest / 12)))
    height = rows * (max(panel.height for panel in plot.panels) + 0.3) + 0.2 * (
        title.count("\n") + notes.count("\n") + 3
    )
    height += 0 if plot.named else 0.22 * -(-sum(label.count("\n") + 1 for label in labels.values()) // across)
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, columns, squeeze=False).flat, plot.panels, strict=False):
        panel.draw(axes, styles=styles)
        axes.set_title(textwrap.fill(panel.title, 44), fontsize=9.5, fontweight="bold", pad=12)
    for axes in figure.axes[len(plot.panels) :]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    if plot.named:
        figure.supxlabel(notes, fontsize=8)
    else:
        figure.legend(
            handles=[_handle(method, labels[method], styles[method], plot) for method in methods],
            loc="outside lower center",
            ncols=min(across, len(methods)),
            title=notes,
            title_fontsize=8,
        )
    return figure


def _handle(method: str, label: str, style: MethodStyle, plot: Plot) -> Line2D:
    dashed = plot.dashed and method == "zero-shot"
    line: Any = style.line if dashed or plot.kind == "shots" else "none"
    marker = "none" if dashed else style.marker
    drawn: dict[str, Any] = {"color": style.color, "markeredgecolor": PAPER, "markersize": marker_size(style, 6)}
    return Line2D([], [], marker=marker, linestyle=line, label=label, **drawn)


def _file_names(plots: Sequence[Plot]) -> list[str]:
    """Return names such as "few-shot-unified-shots"; equal ones are numbered."""
    names: list[str] = []
    for plot in plots:
        conditions = plot.conditions
        shots = f"-{conditions.shots}-shots" if conditions.shots else ""
        plain = re.sub(r"[^\w.=-]+", "-", f"{conditions.protocol}{shots}-{conditions.recipe}")[:80]
        name, number = f"{plain}-{plot.kind}", 2
        while name in names:
            name, number = f"{plain}-{number}-{plot.kind}", number + 1
        names.append(name)
    return names


def page_palette() -> tuple[str, str]:
    """Return the methods' colors as CSS declarations, for a light and for a dark page."""
    pairs = {"zero-shot": ZERO_SHOT, **{f"color-{number}": pair for number, pair in enumerate(COLORS)}}
    light, dark = ("".join(f"--{name}:{pair[place]};" for name, pair in pairs.items()) for place in (0, 1))
    return light, dark


def inline_svg(panel: Panel, styles: Styles, key: str, label: str) -> str:
    """Return a panel as SVG for an HTML page, in the page's colors and font.

    Args:
        panel: Panel to draw.
        styles: Styles of the methods. Everything drawn for a method has the class "method-NUMBER".
        key: Unique key of the panel on the page, from which its ids are derived.
        label: Description for screen readers.
    """
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": key, "figure.facecolor": "none"}):
        figure = Figure(figsize=(WIDTH, panel.height), layout="constrained")
        panel.draw(figure.subplots(), styles=styles)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = re.sub("<[^>]+>", _page_tag, FILE_ONLY.sub("", buffer.getvalue()))
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _page_tag(tag: re.Match[str]) -> str:
    """Adapt a tag of matplotlib's SVG to the page."""
    text = tag[0]
    for pattern, replacement in IN_TAGS:
        text = pattern.sub(replacement, text)
    return re.sub(r"#[0-9a-f]{6}\b", lambda color: PAGE_COLORS.get(color[0], color[0]), text)
