"""Plots from run records: which there are, what each shows, and as files."""

import io
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Run, Section
from vlprompt.results.comparisons import Comparison, Difference, compare
from vlprompt.results.panels import (
    HEIGHT,
    WIDTH,
    Looks,
    Point,
    draw_base_new,
    draw_gains,
    draw_shots,
    draw_time,
    gains_height,
    marker_size,
)
from vlprompt.results.quantities import OF_HARMONICS, TARGETS, have_predictions
from vlprompt.results.style import PAPER, SETTINGS, Look, looks
from vlprompt.results.tables import (
    AVERAGE,
    SECONDS,
    Column,
    Row,
    Table,
    make_tables,
    method_order,
    shots_title,
)
from vlprompt.utils.files import atomic_write

ABOUT = {
    "shots": "Accuracy against shots; bars are standard deviations over seeds.",
    "base-new": "New against base accuracy, with curves of equal harmonic mean H; bars are standard deviations.",
    "time": "Accuracy against time; bars are standard deviations over seeds.",
}


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Attributes:
        title: what of the runs it shows.
        draw: called with axes, and the looks of the methods as `looks`.
        methods: that are drawn.
        height: in inches.
    """

    title: str
    draw: Callable[..., None]
    methods: tuple[str, ...]
    height: float = HEIGHT


@dataclass(frozen=True)
class Plot:
    """Panels of one kind, for runs that may be compared.

    Attributes:
        kind: "shots", "base-new", "gain" or "time".
        section: of the runs.
        about: what is drawn, in a sentence.
        panels: one for each dataset, and for their average.
        left_out: what is not finished, and so not drawn.
        named: whether the panels name the methods, so that no legend is needed.
    """

    kind: str
    section: Section
    about: str
    panels: list[Panel]
    left_out: list[str]
    named: bool = False

    @property
    def note(self) -> str:
        """What is drawn, and what is not."""
        dashed = self.dashed and any("zero-shot" in panel.methods for panel in self.panels)
        missing = f" Not finished, so left out: {'; '.join(self.left_out)}." if self.left_out else ""
        return self.about + " The dashed line is zero-shot." * dashed + missing

    @property
    def dashed(self) -> bool:
        """Whether zero-shot is a dashed line, not a point."""
        return self.kind in ("shots", "time")


def make_plots(tables: Sequence[Table], comparisons: Sequence[Comparison]) -> list[Plot]:
    """All plots that the tables and the comparisons (with zero-shot or another baseline) have something to show in."""
    gains = {comparison.section: comparison for comparison in comparisons}
    found = []
    for table in tables:
        found += [_shots(table), _base_new(table)]
        found += [_gains(gains[table.section], table)] if table.section in gains else []
        found.append(_time(table))
    return [plot for plot in found if plot is not None and plot.panels]


def write_plots(runs: Sequence[Run], out: Path, format_: str) -> list[tuple[Path, str]]:
    """A file for each plot, with a legend.

    Args:
        runs: as `find_runs` gave them.
        out: folder.
        format_: "png", "svg" or "pdf".

    Returns:
        the files, and what each shows.
    """
    tables = make_tables(runs)
    methods = sorted({run.method for run in runs}, key=method_order)
    gains = compare(runs, methods) if "zero-shot" in methods[:-1] and have_predictions(runs) else []
    plots = make_plots(tables, gains)
    if not plots:
        raise VLPromptError("there is nothing to plot: no method is finished with all of its seeds")
    names = _file_names(plots)
    made = []
    for plot, name in zip(plots, names, strict=True):
        path = out / f"{name}.{format_}"
        atomic_write(path, render(plot, looks(methods), format_))
        made.append((path, f"{plot.section.title}: {plot.about}"))
    return made


def render(plot: Plot, styles: Looks, format_: str) -> bytes:
    """A file with all panels of a plot."""
    buffer = io.BytesIO()
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format_]
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "vlprompt"}):
        draw(plot, styles).savefig(buffer, format=format_, dpi=150, metadata=metadata)
    return buffer.getvalue()


def draw(plot: Plot, styles: Looks) -> Figure:
    """All panels of a plot with its title and legend, whose lines are broken to fit."""
    columns = min(3, math.ceil(math.sqrt(len(plot.panels))))
    rows = -(-len(plot.panels) // columns)
    methods = sorted({method for panel in plot.panels for method in panel.methods}, key=method_order)
    width = columns * WIDTH  # in inches, which hold 11 letters of the title, 15 of the notes, 12 of a legend
    title = textwrap.fill(plot.section.title, int(width * 11))
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
        panel.draw(axes, looks=styles)
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


def _handle(method: str, label: str, look: Look, plot: Plot) -> Line2D:
    dashed = plot.dashed and method == "zero-shot"
    line: Any = look.line if dashed or plot.kind == "shots" else "none"
    marker = "none" if dashed else look.marker
    style: dict[str, Any] = {"color": look.color, "markeredgecolor": PAPER, "markersize": marker_size(look, 6)}
    return Line2D([], [], marker=marker, linestyle=line, label=label, **style)


def _shots(table: Table) -> Plot | None:
    columns = [column for column in table.columns if column.quantity == "test"]
    if len(columns) < 2:
        return None
    panels, left_out = [], []
    for dataset, rows in _by_dataset(table).items():
        curves = {row.method: {column.shots: Point.of(row.values[column]) for column in columns} for row in rows}
        left_out += [_missing(row, column) for row in rows for column in columns if row.values[column].sample is None]
        curves = {method: curve for method, curve in curves.items() if any(curve.values())}
        if curves.keys() - {"zero-shot"}:
            panels.append(Panel(dataset, partial(draw_shots, curves=curves), tuple(curves)))
    return _plot("shots", table, panels, left_out)


def _base_new(table: Table) -> Plot | None:
    base, new = (_column(table, name) for name in ("base", "new"))
    if base is None or new is None:
        return None
    panels, left_out = [], []
    for dataset, rows in _by_dataset(table).items():
        points = {row.method: (Point.of(row.values[base]), Point.of(row.values[new])) for row in rows}
        left_out += [_missing(row, base) for row in rows if None in points[row.method]]
        whole = {method: (x, y) for method, (x, y) in points.items() if x is not None and y is not None}
        if whole:
            panels.append(Panel(dataset, partial(draw_base_new, points=whole), tuple(whole)))
    return _plot("base-new", table, panels, left_out)


def _gains(comparison: Comparison, table: Table) -> Plot:
    """A panel for each dataset, with base and new in one; for each test where there are targets."""
    section = comparison.section
    most = shots_title(max(column.shots for column in table.columns))
    shown = {"few-shot": [most], "base-to-new": ["base", "new"]}.get(section.protocol)
    panels: dict[str, dict[str, list[Difference]]] = {}
    left_out = []
    for found in comparison.differences:
        if shown is not None and found.quantity not in shown:
            continue
        if found.have < found.need:
            left_out.append(f"{found.method} on {found.dataset} ({found.have}/{found.need} seeds)")
            continue
        title = found.dataset if shown is not None else f"{found.dataset}: {found.quantity}"
        panels.setdefault(title, {}).setdefault(found.method, []).append(found)
    made = [
        Panel(title, partial(draw_gains, gains=gains), tuple(gains), gains_height(gains))
        for title, gains in sorted(panels.items(), key=lambda item: not item[0].startswith(AVERAGE))
    ]
    lighter = " Of two bars the upper one is base, the lighter one new." if section.protocol == "base-to-new" else ""
    at = f" at {most}" if section.shots == 0 else ""
    about = (
        f"Gain over {comparison.against}{at}, with 95% intervals of a paired bootstrap over images and seeds.{lighter}"
    )
    return Plot("gain", section, about, made, list(dict.fromkeys(left_out)), named=True)


def _time(table: Table) -> Plot | None:
    seconds = _column(table, SECONDS)
    accuracy = _column(table, OF_HARMONICS) or _column(table, TARGETS) or _column(table, "test")
    if seconds is None or accuracy is None:
        return None
    names = {OF_HARMONICS: "harmonic mean", TARGETS: TARGETS, "test": "accuracy"}
    quantity = names[accuracy.quantity] + (f" with {shots_title(accuracy.shots)}" if table.section.shots == 0 else "")
    panels, left_out = [], []
    for dataset, rows in _by_dataset(table).items():
        points = {}
        for row in rows:
            taken, point = row.values[seconds].sample, Point.of(row.values[accuracy])
            if taken is None or point is None:
                left_out.append(_missing(row, accuracy))
            else:
                points[row.method] = (taken.mean, point)
        if points.keys() - {"zero-shot"}:
            panels.append(Panel(dataset, partial(draw_time, points=points, quantity=quantity), tuple(points)))
    return _plot("time", table, panels, left_out)


def _plot(kind: str, table: Table, panels: list[Panel], left_out: list[str]) -> Plot:
    return Plot(kind, table.section, ABOUT[kind], panels, [line for line in dict.fromkeys(left_out) if line])


def _by_dataset(table: Table) -> dict[str, list[Row]]:
    """The rows of each dataset, the average first."""
    datasets: dict[str, list[Row]] = {}
    for row in sorted(table.rows, key=lambda row: row.dataset != AVERAGE):
        datasets.setdefault(row.dataset, []).append(row)
    return datasets


def _column(table: Table, quantity: str) -> Column | None:
    """The one with the most shots."""
    return next((column for column in reversed(table.columns) if column.quantity == quantity), None)


def _missing(row: Row, column: Column) -> str:
    """What of a cell is not finished; nothing for an average, whose cells are named themselves."""
    value = row.values[column]
    if row.dataset == AVERAGE:
        return ""
    shots = f", {column.title}" if column.quantity == "test" else ""
    return f"{row.method} on {row.dataset}{shots} ({value.have}/{value.need} seeds)"


def _file_names(plots: Sequence[Plot]) -> list[str]:
    """Such as "few-shot-unified-shots"; what would be the same is numbered."""
    names: list[str] = []
    for plot in plots:
        section = plot.section
        shots = f"-{section.shots}-shots" if section.shots else ""
        plain = re.sub(r"[^\w.=-]+", "-", f"{section.protocol}{shots}-{section.recipe}")[:80]
        name, number = f"{plain}-{plot.kind}", 2
        while name in names:
            name, number = f"{plain}-{number}-{plot.kind}", number + 1
        names.append(name)
    return names
