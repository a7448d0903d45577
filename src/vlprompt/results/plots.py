"""Select the plots that tables and comparisons have data for, and the content of each panel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vlprompt.results.collect import Conditions
from vlprompt.results.comparisons import Comparison, Difference
from vlprompt.results.panels import HEIGHT, Point, draw_base_new, draw_gains, draw_shots, draw_time, gains_height
from vlprompt.results.quantities import OF_HARMONICS, TARGETS
from vlprompt.results.tables import AVERAGE, SECONDS, Column, MethodRow, Table, shots_title

ABOUT = {
    "shots": "Accuracy against shots; bars are standard deviations over seeds.",
    "base-new": "New against base accuracy, with curves of equal harmonic mean H; bars are standard deviations.",
    "time": "Accuracy against time; bars are standard deviations over seeds.",
}


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a plot.

    Attributes:
        title: Dataset, or dataset and test.
        draw: Function that draws the panel, called with axes and the methods' `styles`.
        methods: Methods that are drawn.
        height: Height in inches.
    """

    title: str
    draw: Callable[..., None]
    methods: tuple[str, ...]
    height: float = HEIGHT


@dataclass(frozen=True)
class Plot:
    """Panels of one kind for runs that share conditions.

    Attributes:
        kind: "shots", "base-new", "gain" or "time".
        conditions: Conditions of the runs.
        about: Description in one sentence.
        panels: One panel for each dataset, and for their average.
        left_out: Descriptions of unfinished cells, which are left out.
        named: Whether the panels name the methods, so that no legend is needed.
    """

    kind: str
    conditions: Conditions
    about: str
    panels: list[Panel]
    left_out: list[str]
    named: bool = False

    @property
    def note(self) -> str:
        """Description, with everything that is left out."""
        dashed = self.dashed and any("zero-shot" in panel.methods for panel in self.panels)
        missing = f" Not finished, so left out: {'; '.join(self.left_out)}." if self.left_out else ""
        return self.about + " The dashed line is zero-shot." * dashed + missing

    @property
    def dashed(self) -> bool:
        """Whether zero-shot is a dashed line and not a point."""
        return self.kind in ("shots", "time")


def make_plots(tables: Sequence[Table], comparisons: Sequence[Comparison]) -> list[Plot]:
    """Make all plots that the tables and the comparisons with a baseline have data for."""
    gains = {comparison.conditions: comparison for comparison in comparisons}
    found = []
    for table in tables:
        found += [_shots(table), _base_new(table)]
        found += [_gains(gains[table.conditions], table)] if table.conditions in gains else []
        found.append(_time(table))
    return [plot for plot in found if plot is not None and plot.panels]


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
    """Make one panel per dataset, with base and new together; with targets, one per test."""
    conditions = comparison.conditions
    most = shots_title(max(column.shots for column in table.columns))
    shown = {"few-shot": [most], "base-to-new": ["base", "new"]}.get(conditions.protocol)
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
    bars = (
        " Of two bars, the upper one is base and the lighter one new." if conditions.protocol == "base-to-new" else ""
    )
    at = f" at {most}" if conditions.shots == 0 else ""
    about = f"Gain over {comparison.against}{at}, with 95% intervals of a paired bootstrap over images and seeds.{bars}"
    return Plot("gain", conditions, about, made, list(dict.fromkeys(left_out)), named=True)


def _time(table: Table) -> Plot | None:
    seconds = _column(table, SECONDS)
    accuracy = _column(table, OF_HARMONICS) or _column(table, TARGETS) or _column(table, "test")
    if seconds is None or accuracy is None:
        return None
    names = {OF_HARMONICS: "harmonic mean", TARGETS: TARGETS, "test": "accuracy"}
    quantity = names[accuracy.quantity] + (
        f" with {shots_title(accuracy.shots)}" if table.conditions.shots == 0 else ""
    )
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
    return Plot(kind, table.conditions, ABOUT[kind], panels, [line for line in dict.fromkeys(left_out) if line])


def _by_dataset(table: Table) -> dict[str, list[MethodRow]]:
    """Return the rows of each dataset, the average first."""
    datasets: dict[str, list[MethodRow]] = {}
    for row in sorted(table.rows, key=lambda row: row.dataset != AVERAGE):
        datasets.setdefault(row.dataset, []).append(row)
    return datasets


def _column(table: Table, quantity: str) -> Column | None:
    """Return the quantity's column with the most shots, or None."""
    return next((column for column in reversed(table.columns) if column.quantity == quantity), None)


def _missing(row: MethodRow, column: Column) -> str:
    """Describe an unfinished cell; empty for averages, whose missing cells are described instead."""
    value = row.values[column]
    if row.dataset == AVERAGE:
        return ""
    shots = f", {column.title}" if column.quantity == "test" else ""
    return f"{row.method} on {row.dataset}{shots} ({value.have}/{value.need} seeds)"
