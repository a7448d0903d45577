"""Tables and comparisons as what is read: texts in cells, and the words that say what they are."""

from dataclasses import dataclass

import numpy as np

from vlprompt.results.comparisons import Comparison, Difference
from vlprompt.results.quantities import OF_AVERAGES, TARGETS
from vlprompt.results.statistics import LEVEL
from vlprompt.results.tables import AVERAGE, PARAMETERS, SECONDS, Column, Table, Value

MISSING = "–"
METRICS = {
    "accuracy": "Accuracy",
    "macro_accuracy": "Macro accuracy",
    "calibration_error": "Expected calibration error",
    "calibrated_error": "Expected calibration error after temperature scaling",
}
SURE = 0.05
COMPARED = [
    "Accuracy in %, averaged over the seeds that both methods have on the same split; its difference in points, with "
    f"the {LEVEL}% interval of a paired bootstrap over images and seeds.",
    "p: exact sign-flip test over images, two-sided. Its null hypothesis is that on every image the answers of these "
    "runs of the two methods could as well be swapped; how much other seeds would change is in the interval alone.",
    f"p (Holm): corrected for all tests of its table; bold where it is below {SURE:g}.",
]


@dataclass(frozen=True)
class Text:
    """A cell.

    Attributes:
        text: what is read.
        number: the one in it, for those who sort.
        best: whether it stands out.
        lacking: whether runs are missing.
    """

    text: str
    number: float | None = None
    best: bool = False
    lacking: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table as it is shown.

    Attributes:
        title: what all lines have in common.
        titles: of the columns.
        lines: a text for each column.
        legend: what the numbers are, in sentences.
        words: how many columns are names, the first of them the dataset.
    """

    title: str
    titles: list[str]
    lines: list[list[Text]]
    legend: list[str]
    words: int


def table_sheet(table: Table) -> Sheet:
    """A table, with a column for what papers printed beside each that has such numbers."""
    papers = {column for row in table.rows for column, value in row.values.items() if value.printed}
    titles = ["dataset", "method"]
    for column in table.columns:
        titles += [column.title, f"{column.title} (paper)"] if column in papers else [column.title]
    best = _best(table)
    lines = []
    for row in table.rows:
        line = [Text(row.dataset), Text(row.method)]
        for column in table.columns:
            value = row.values[column]
            number = value.sample.mean if value.sample else None
            is_best = number is not None and f"{number:.1f}" == best.get((row.dataset, column))
            line.append(Text(_shown(column.quantity, value), number, is_best, value.have < value.need))
            if column in papers:
                paper = value.printed
                line.append(Text(paper.value, float(paper.value)) if paper else Text(MISSING))
        counts = {f"{value.have}/{value.need}" for value in row.values.values()}
        seeds = MISSING if row.dataset == AVERAGE else next(iter(counts)) if len(counts) == 1 else "see cells"
        lines.append([*line, Text(seeds, lacking=any(value.have < value.need for value in row.values.values()))])
    return Sheet(table.section.title, [*titles, "seeds"], lines, _table_legend(table), words=2)


def comparison_sheet(comparison: Comparison) -> Sheet:
    """Differences with the first method, in points."""
    against = comparison.against
    titles = ["dataset", "test", "method", "accuracy", against, f"difference [{LEVEL}% interval]", "p", "p (Holm)"]
    lines = [
        [
            Text(found.dataset),
            Text(found.quantity),
            Text(found.method),
            Text(f"{found.ours:.1f}", found.ours),
            Text(f"{found.theirs:.1f}", found.theirs),
            Text(_difference(found), found.sample.mean, (found.corrected or 1.0) < SURE),
            Text(_p(found.p), found.p),
            Text(_p(found.corrected), found.corrected),
            Text(
                MISSING if found.dataset == AVERAGE else f"{found.have}/{found.need}", lacking=found.have < found.need
            ),
        ]
        for found in comparison.differences
    ]
    return Sheet(f"{comparison.section.title}; compared with {against}", [*titles, "seeds"], lines, COMPARED, words=3)


def _table_legend(table: Table) -> list[str]:
    columns = {column.quantity for column in table.columns}
    values = [value for row in table.rows for value in row.values.values()]
    intervals = any(value.sample is not None and value.sample.interval for value in values)
    interval = f" [{LEVEL}% interval, bootstrap over images and seeds]" if intervals else ""
    sentences = [f"{METRICS[table.metric]} in %: mean ± standard deviation over seeds{interval}."]
    if OF_AVERAGES in columns:
        sentences.append(
            "H: harmonic mean of base and new; of their averages, as papers print it, and itself averaged."
        )
    if "open-new" in columns:
        sentences.append("open-base, open-new, open H: the same images with all classes competing.")
    if TARGETS in columns:
        sentences.append("target average: over the other datasets, without the one that was learned from.")
    if SECONDS in columns:
        sentences.append("Seconds are those of preparing and training.")
    sentences.append("k/n seeds: not all finished, so not averaged.")
    sentences += [
        f"{dataset}: {count} class{'es have' if count > 1 else ' has'} fewer training images than shots; all are used."
        for dataset, count in table.short.items()
    ]
    sources = dict.fromkeys(value.printed.source for value in values if value.printed)
    if sources:
        where = "; ".join(sources)
        sentences.append(f"(paper): as printed for this method, with its authors' recipe and images, in {where}.")
    return sentences


def _best(table: Table) -> dict[tuple[str, Column], str]:
    """The best number of each column of a dataset as it is shown, where not all are the same."""
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
