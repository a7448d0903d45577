"""Convert tables and comparisons to text cells and legends, which all output formats share."""

from dataclasses import dataclass

import numpy as np

from vlprompt.results.comparisons import Comparison, Difference
from vlprompt.results.quantities import OF_AVERAGES, TARGETS
from vlprompt.results.statistics import LEVEL
from vlprompt.results.tables import AVERAGE, PARAMETERS, SECONDS, Column, Table, Value
from vlprompt.utils.strings import counted

MISSING = "–"
METRICS = {
    "accuracy": "Accuracy",
    "macro_accuracy": "Macro accuracy",
    "calibration_error": "Expected calibration error",
    "calibrated_error": "Expected calibration error after temperature scaling",
}
SIGNIFICANT = 0.05
COMPARISON_LEGEND = [
    "Accuracy in %, averaged over the seeds that both methods have on the same split; difference in points, with the "
    f"{LEVEL}% interval of a paired bootstrap over images and seeds.",
    "p: exact two-sided sign-flip test over images. Null hypothesis: on every image the two methods' answers, of all "
    "seeds together, are exchangeable. Variation between seeds is in the interval only.",
    f"p (Holm): corrected for all tests of the table; differences are bold below {SIGNIFICANT:g}.",
]


@dataclass(frozen=True)
class TextCell:
    """Cell of a table as text.

    Attributes:
        text: Displayed text.
        number: Number in the text, which tables sort by.
        best: Whether the cell is highlighted.
        lacking: Whether runs are missing.
    """

    text: str
    number: float | None = None
    best: bool = False
    lacking: bool = False


@dataclass(frozen=True)
class TextTable:
    """Table as text.

    Attributes:
        title: Conditions that all rows share.
        columns: Headings.
        rows: One cell per column.
        legend: Sentences that explain the numbers.
        words: Number of leading columns that hold names; the first is the dataset.
    """

    title: str
    columns: list[str]
    rows: list[list[TextCell]]
    legend: list[str]
    words: int


def as_text(shown: Table | Comparison) -> TextTable:
    """Return a table or comparison as text."""
    return _table_text(shown) if isinstance(shown, Table) else _comparison_text(shown)


def _table_text(table: Table) -> TextTable:
    """Return a table's cells, with a column of the papers' numbers beside each column that has any."""
    papers = {column for row in table.rows for column, value in row.values.items() if value.printed}
    columns = ["dataset", "method"]
    for column in table.columns:
        columns += [column.title, f"{column.title} (paper)"] if column in papers else [column.title]
    best = _best(table)
    rows = []
    for row in table.rows:
        cells = [TextCell(row.dataset), TextCell(row.method)]
        for column in table.columns:
            value = row.values[column]
            number = value.sample.mean if value.sample else None
            is_best = number is not None and f"{number:.1f}" == best.get((row.dataset, column))
            cells.append(TextCell(_shown(column.quantity, value), number, is_best, value.have < value.need))
            if column in papers:
                paper = value.printed
                cells.append(TextCell(paper.value, float(paper.value)) if paper else TextCell(MISSING))
        counts = {f"{value.have}/{value.need}" for value in row.values.values()}
        seeds = MISSING if row.dataset == AVERAGE else next(iter(counts)) if len(counts) == 1 else "see cells"
        rows.append([*cells, TextCell(seeds, lacking=any(value.have < value.need for value in row.values.values()))])
    return TextTable(table.conditions.title, [*columns, "seeds"], rows, _table_legend(table), words=2)


def _comparison_text(comparison: Comparison) -> TextTable:
    against = comparison.against
    columns = ["dataset", "test", "method", "accuracy", against, f"difference [{LEVEL}% interval]", "p", "p (Holm)"]
    rows = []
    for found in comparison.differences:
        seeds = MISSING if found.dataset == AVERAGE else f"{found.have}/{found.need}"
        rows.append(
            [
                TextCell(found.dataset),
                TextCell(found.quantity),
                TextCell(found.method),
                TextCell(f"{found.ours:.1f}", found.ours),
                TextCell(f"{found.theirs:.1f}", found.theirs),
                TextCell(_difference(found), found.sample.mean, (found.corrected or 1.0) < SIGNIFICANT),
                TextCell(_p(found.p), found.p),
                TextCell(_p(found.corrected), found.corrected),
                TextCell(seeds, lacking=found.have < found.need),
            ]
        )
    title = f"{comparison.conditions.title}; compared with {against}"
    return TextTable(title, [*columns, "seeds"], rows, COMPARISON_LEGEND, words=3)


def _table_legend(table: Table) -> list[str]:
    columns = {column.quantity for column in table.columns}
    values = [value for row in table.rows for value in row.values.values()]
    intervals = any(value.sample is not None and value.sample.interval for value in values)
    interval = f" [{LEVEL}% interval, bootstrap over images and seeds]" if intervals else ""
    sentences = [f"{METRICS[table.metric]} in %: mean ± standard deviation over seeds{interval}."]
    if OF_AVERAGES in columns:
        sentences.append(
            "H: harmonic mean of base and new accuracy, of their averages (as papers print it) or averaged over seeds."
        )
    if "open-new" in columns:
        sentences.append("open-base, open-new, open H: the same images with all classes competing.")
    if TARGETS in columns:
        sentences.append("target average: over the other datasets, without the one used for training.")
    if SECONDS in columns:
        sentences.append("train s: seconds of preparation and training.")
    sentences.append("k/n seeds in place of a number: only k of n seeds are finished.")
    sentences += [
        f"{dataset}: {count} class{'es have' if count > 1 else ' has'} fewer training images than shots; all are used."
        for dataset, count in table.short.items()
    ]
    sentences += [
        f"{dataset}, {method}: {counted(count, 'run')} hardly learned anything; on the shots, the loss is no better "
        "than guessing or zero-shot."
        for (dataset, method), count in table.unlearned.items()
    ]
    sources = dict.fromkeys(value.printed.source for value in values if value.printed)
    if sources:
        where = "; ".join(sources)
        sentences.append(f"(paper): as printed, with the authors' recipe and images, in {where}.")
    return sentences


def _best(table: Table) -> dict[tuple[str, Column], str]:
    """Return the largest displayed number of each column and dataset, unless all are equal."""
    if table.metric in ("calibration_error", "calibrated_error"):
        return {}
    found: dict[tuple[str, Column], list[float]] = {}
    for row in table.rows:
        for column, value in row.values.items():
            if value.sample is not None and column.quantity not in (PARAMETERS, SECONDS):
                found.setdefault((row.dataset, column), []).append(value.sample.mean)
    shown = {place: f"{max(means):.1f}" for place, means in found.items()}
    return {place: best for place, best in shown.items() if any(f"{mean:.1f}" != best for mean in found[place])}


def _shown(quantity: str, value: Value) -> str:
    sample = value.sample
    if sample is None:
        if quantity in (PARAMETERS, SECONDS) or not value.need:
            return MISSING
        if value.have < value.need:
            return f"{value.have}/{value.need} {value.of}"
        return "unequal seeds" if value.of == "datasets" else MISSING
    if quantity == PARAMETERS:
        return f"{sample.mean:,.0f}" if np.ptp(sample.values) == 0 else MISSING
    if quantity == SECONDS:
        return f"{sample.mean:.1f}" if sample.mean < 10 else f"{sample.mean:,.0f}"
    text = f"{sample.mean:.1f}"
    if sample.std is not None:
        text += f" ± {sample.std:.1f}"
    if sample.interval is not None:
        text += f" [{sample.interval[0]:.1f}, {sample.interval[1]:.1f}]"
    return text


def _difference(found: Difference) -> str:
    low, high = found.sample.interval or (None, None)
    return f"{_signed(found.sample.mean)} [{_signed(low or 0.0)}, {_signed(high or 0.0)}]"


def _signed(value: float) -> str:
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text.strip("+−") == "0.0" else text


def _p(p: float | None) -> str:
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
