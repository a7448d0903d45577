"""Tables from run records alone: what `vlprompt table` prints."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars
from rich.console import Console
from rich.table import Table as RichTable

from vlprompt.errors import VLPromptError
from vlprompt.protocols.protocol import PROTOCOLS
from vlprompt.results.collect import Run, Section
from vlprompt.results.statistics import (
    LEVEL,
    Floats,
    Sample,
    average,
    redrawn_accuracies,
    seed_weights,
)
from vlprompt.training.evaluation import harmonic_mean
from vlprompt.training.fit import derived_seed

AVERAGE = "average"
OF_AVERAGES, OF_HARMONICS = "H of averages", "average H"
PARAMETERS, SECONDS = "parameters", "train s"
MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A quantity, of the runs with so many shots."""

    quantity: str
    shots: int
    title: str


@dataclass(frozen=True)
class Value:
    """What stands in one place of a table.

    Attributes:
        sample: the quantity; None where runs are missing, which are never averaged as if they were all there.
        have, need: seeds that are finished, and those that other runs of the table have; datasets in an average.
        of: "seeds" or "datasets".
    """

    sample: Sample | None
    have: int
    need: int
    of: str = "seeds"


@dataclass(frozen=True)
class Row:
    """A method on a dataset, or on all of them."""

    dataset: str
    method: str
    values: dict[Column, Value]


@dataclass(frozen=True)
class Table:
    """Runs that may be compared."""

    section: Section
    columns: list[Column]
    rows: list[Row]

    @property
    def title(self) -> str:
        """What all runs have in common, in a line."""
        section = self.section
        shots = f", {section.shots} shot{'s' * (section.shots > 1)}" if section.shots else ""
        backbone = f"{section.backbone} {section.precision} ({section.weights[:8]})"
        return f"{section.protocol}{shots}, recipe {section.recipe}, backbone {backbone}"


def make_tables(runs: Iterable[Run], *, intervals: bool = False) -> list[Table]:
    """A table for each section, a row for each dataset and method, and averages where there are several datasets.

    Args:
        runs: as `find_runs` gave them.
        intervals: bootstrap over images and seeds, from the runs' predictions.
    """
    sections: dict[Section, list[Run]] = {}
    for run in runs:
        sections.setdefault(run.section, []).append(run)
    return [_table(section, found, intervals) for section, found in sorted(sections.items())]


def legend(tables: list[Table], *, intervals: bool) -> str:
    """What the numbers of the tables are."""
    interval = f" [{LEVEL}% interval, bootstrap over images and seeds]" if intervals else ""
    sentences = [f"Accuracy in %: mean ± standard deviation over seeds{interval}."]
    if any(column.quantity == OF_AVERAGES for table in tables for column in table.columns):
        sentences.append(
            "H: harmonic mean of base and new; of their averages, as papers print it, and itself averaged."
        )
    sentences.append("Seconds are those of preparing and training. k/n seeds: not all finished, so not averaged.")
    return " ".join(sentences)


def print_tables(tables: list[Table], *, intervals: bool = False) -> None:
    """On the terminal; as wide as needed where the output goes elsewhere."""
    wide = None if Console().is_terminal else 400
    console = Console(width=wide, markup=False, emoji=False, highlight=False)
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left")
        for title in _titles(table):
            shown.add_column(title, justify="left" if title in ("dataset", "method") else "right")
        for dataset, cells in _texts(table):
            if shown.row_count and dataset:
                shown.add_section()
            shown.add_row(dataset, *cells)
        console.print(shown)
    console.print(legend(tables, intervals=intervals), style="dim", soft_wrap=wide is not None)


def to_markdown(tables: list[Table], *, intervals: bool = False) -> str:
    """A heading and a table for each section, and what the numbers are."""
    lines = []
    for table in tables:
        titles = _titles(table)
        lines += [f"### {table.title}", "", _line(titles), _line(["---", "---", *["---:"] * (len(titles) - 2)])]
        lines += [_line([dataset, f"`{cells[0]}`", *cells[1:]]) for dataset, cells in _texts(table)]
        lines.append("")
    return "\n".join([*lines, legend(tables, intervals=intervals), ""])


def to_csv(tables: list[Table]) -> str:
    """One line a number, with everything that tells it from others; empty where seeds are missing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = ["protocol", "backbone", "weights", "precision", "recipe", "dataset", "method", "shots", "quantity"]
    writer.writerow([*names, "mean", "std", "low", "high", "have", "need", "of"])
    for table in tables:
        section = table.section
        about = (section.protocol, section.backbone, section.weights, section.precision, section.recipe)
        for row in table.rows:
            for column, value in row.values.items():
                sample = value.sample
                low, high = (sample and sample.interval) or (None, None)
                found = (sample.mean, sample.std, low, high) if sample else (None,) * 4
                place = (row.dataset, row.method, column.shots, column.quantity)
                writer.writerow([*about, *place, *found, value.have, value.need, value.of])
    return buffer.getvalue()


def _table(section: Section, runs: list[Run], intervals: bool) -> Table:
    columns = _columns(section, sorted({run.shots for run in runs}))
    groups: dict[tuple[str, str, int], list[Run]] = {}
    seeds: dict[tuple[str, int], set[int]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.method, run.shots), []).append(run)
        seeds.setdefault((run.dataset, run.shots), set()).add(run.seed)
    datasets, methods = sorted({run.dataset for run in runs}), sorted({run.method for run in runs}, key=_method_order)
    rows = []
    for dataset in datasets:
        for method in methods:
            if not any((dataset, method, column.shots) in groups for column in columns):
                continue
            values: dict[Column, Value] = {}
            for shots in dict.fromkeys(column.shots for column in columns):
                there, need = groups.get((dataset, method, shots), []), len(seeds.get((dataset, shots), ()))
                finished = _by_seed(there)
                whole = len(finished) == need
                samples = _samples(finished, intervals) if whole and finished else {}
                for column in columns:
                    if column.shots == shots:
                        values[column] = Value(samples.get(column.quantity), len(finished), need)
            rows.append(Row(dataset, method, values))
    # Splits of one dataset are not averaged with one another.
    if len(datasets) > 1 and len({_plain(dataset) for dataset in datasets}) == len(datasets):
        rows += [_averages(rows, method, datasets, columns) for method in methods]
    return Table(section, columns, rows)


def _columns(section: Section, shots: list[int]) -> list[Column]:
    tests = list(PROTOCOLS[section.protocol].tests)
    most = shots[-1]
    if len(tests) == 1:
        columns = [Column(tests[0], count, f"{count} shot{'s' * (count > 1)}") for count in shots]
        seconds = f"{SECONDS} ({most} shot{'s' * (most > 1)})"
        return [*columns, Column(PARAMETERS, most, PARAMETERS), Column(SECONDS, most, seconds)]
    summaries = [OF_AVERAGES, OF_HARMONICS] if {"base", "new"} <= set(tests) else []
    return [Column(quantity, most, quantity) for quantity in [*tests, *summaries, PARAMETERS, SECONDS]]


def _by_seed(runs: list[Run]) -> list[Run]:
    """The finished ones in the order of their seeds. Two of one seed would be a cell of unlike runs."""
    finished: dict[int, Run] = {}
    for run in sorted((run for run in runs if run.finished), key=lambda run: run.seed):
        if run.seed in finished:
            raise VLPromptError(
                f"{run.folder} and {finished[run.seed].folder} are different runs that a table cannot tell apart; "
                "give it one of them"
            )
        finished[run.seed] = run
    return list(finished.values())


def _samples(runs: list[Run], intervals: bool) -> dict[str, Sample]:
    """Every quantity of the runs of all seeds of a cell."""
    tests = list(PROTOCOLS[runs[0].section.protocol].tests)
    records = [run.record for run in runs]
    accuracies = {test: np.array([record.metrics[test]["accuracy"] for record in records]) for test in tests}
    redrawn: dict[str, Floats] = {}
    weights: Floats | None = None
    if intervals:
        rng = np.random.default_rng(derived_seed("bootstrap", *(record.result_hash for record in records)))
        weights = seed_weights(len(runs), rng)
        redrawn = {test: redrawn_accuracies(right, rng) for test, right in _right_answers(runs, tests).items()}

    def sample(values: Floats, replicates: Floats | None) -> Sample:
        return Sample(values, None if replicates is None or weights is None else (weights * replicates).sum(1))

    samples = {test: sample(accuracies[test], redrawn.get(test)) for test in tests}
    if {"base", "new"} <= samples.keys():
        both = harmonic_mean(redrawn["base"], redrawn["new"]) if redrawn else None
        samples[OF_HARMONICS] = sample(harmonic_mean(accuracies["base"], accuracies["new"]), both)
        samples[OF_AVERAGES] = _of_averages(samples)
    samples[PARAMETERS] = Sample(np.array([float(record.trainable_parameters) for record in records]))
    seconds = [sum(record.timings.get(part, 0.0) for part in ("prepare", "train")) for record in records]
    samples[SECONDS] = Sample(np.array(seconds))
    return samples


def _of_averages(samples: dict[str, Sample]) -> Sample:
    """Harmonic mean of two means; that is one number, so it has an interval but no spread over seeds."""
    base, new = samples["base"], samples["new"]
    drawn = None
    if base.replicates is not None and new.replicates is not None:
        drawn = harmonic_mean(base.replicates, new.replicates)
    return Sample(np.array([harmonic_mean(base.mean, new.mean)]), drawn)


def _averages(rows: list[Row], method: str, datasets: list[str], columns: list[Column]) -> Row:
    """A method's averages over datasets, where it is finished on all of them."""
    own = [row for row in rows if row.method == method]
    values: dict[Column, Value] = {}
    for column in columns:
        samples = [sample for row in own if (sample := row.values[column].sample) is not None]
        alike = len({len(sample.values) for sample in samples}) == 1
        if column.quantity == PARAMETERS:  # a probe has as many as there are classes, which has no average
            alike = alike and len({sample.mean for sample in samples}) == 1
        whole = len(samples) == len(datasets) and alike
        values[column] = Value(average(samples) if whole else None, len(samples), len(datasets), "datasets")
    found = {column.quantity: value for column, value in values.items()}
    for column, value in values.items():
        base, new = found.get("base"), found.get("new")
        if column.quantity == OF_AVERAGES and base and new and base.sample and new.sample:
            of_averages = _of_averages({"base": base.sample, "new": new.sample})
            values[column] = Value(of_averages, value.have, value.need, value.of)
    return Row(AVERAGE, method, values)


def _right_answers(runs: list[Run], tests: list[str]) -> dict[str, np.ndarray]:
    """Which of N images the run of each seed got right, by test (S, N)."""
    right: dict[str, list[np.ndarray]] = {test: [] for test in tests}
    paths: dict[str, list[str]] = {}
    for run in runs:
        try:
            table = polars.read_parquet(run.folder / "predictions.parquet").sort("test", "path")
        except (OSError, polars.exceptions.PolarsError) as error:
            raise VLPromptError(f"{run.folder} has no predictions that can be read; leave --intervals out") from error
        for test in tests:
            part = table.filter(polars.col("test") == test)
            if paths.setdefault(test, part["path"].to_list()) != part["path"].to_list():
                raise VLPromptError(f"{run.folder} and {runs[0].folder} were tested on different images")
            right[test].append((part["label"] == part["prediction"]).to_numpy())
    return {test: np.stack(found) for test, found in right.items()}


def _titles(table: Table) -> list[str]:
    return ["dataset", "method", *(column.title for column in table.columns), "seeds"]


def _texts(table: Table) -> list[tuple[str, list[str]]]:
    """Every row's dataset, where it differs from the row above, and its other cells."""
    texts, above = [], ""
    for row in table.rows:
        values = [row.values[column] for column in table.columns]
        shown = [_text(column.quantity, value) for column, value in zip(table.columns, values, strict=True)]
        counts = {f"{value.have}/{value.need}" for value in values}
        seeds = MISSING if row.dataset == AVERAGE else next(iter(counts)) if len(counts) == 1 else "see cells"
        texts.append((row.dataset if row.dataset != above else "", [row.method, *shown, seeds]))
        above = row.dataset
    return texts


def _text(quantity: str, value: Value) -> str:
    sample = value.sample
    if sample is None:
        if quantity in (PARAMETERS, SECONDS) or not value.need:
            return MISSING
        return f"{value.have}/{value.need} {value.of}" if value.have < value.need else "unequal seeds"
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


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _method_order(label: str) -> tuple[bool, str]:
    """What is compared with comes first."""
    return label != "zero-shot", label


def _plain(dataset: str) -> str:
    return dataset.split(" (split ")[0]
