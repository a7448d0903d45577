"""Tables from run records alone: which runs share a cell, and what stands in it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Run, Section
from vlprompt.results.paper import Printed, printed
from vlprompt.results.quantities import (
    OF_AVERAGES,
    OF_HARMONICS,
    OPEN_HARMONICS,
    TARGETS,
    measured,
    of_averages,
    quantities,
    right_answers,
    target_average,
)
from vlprompt.results.statistics import Floats, Sample, average, redrawn_means, seed_weights
from vlprompt.utils.seeds import derived_seed

AVERAGE = "average"
PARAMETERS, SECONDS = "parameters", "train s"


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
        printed: what a paper printed for this place.
    """

    sample: Sample | None
    have: int
    need: int
    of: str = "seeds"
    printed: Printed | None = None


@dataclass(frozen=True)
class Row:
    """A method on a dataset, or on all of them."""

    dataset: str
    method: str
    values: dict[Column, Value]


@dataclass(frozen=True)
class Table:
    """Runs that may be compared.

    Attributes:
        section: what they have in common.
        metric: of the tests, as records call it.
        columns, rows: in the order they are shown.
        short: datasets with classes that have fewer training images than shots, and how many classes.
    """

    section: Section
    metric: str
    columns: list[Column]
    rows: list[Row]
    short: dict[str, int]

    @property
    def datasets(self) -> list[str]:
        """Those of the rows, without the average."""
        return list(dict.fromkeys(row.dataset for row in self.rows if row.dataset != AVERAGE))

    @property
    def methods(self) -> list[str]:
        """Those of the rows, zero-shot first."""
        return sorted({row.method for row in self.rows}, key=method_order)


def make_tables(runs: Iterable[Run], *, intervals: bool = False, metric: str = "accuracy") -> list[Table]:
    """A table for each section, a row for each dataset and method, and averages where there are several datasets.

    Args:
        runs: as `find_runs` gave them.
        intervals: bootstrap over images and seeds, from the runs' predictions.
        metric: "accuracy", which alone has intervals, harmonic means and the papers' numbers beside it;
            "macro_accuracy" or "calibration_error".
    """
    tables = []
    for section, found in by_section(runs).items():
        columns = _columns(section, found, metric)
        datasets = sorted({run.dataset for run in found})
        rows = _rows(section, found, columns, intervals, metric)
        if may_average(datasets):
            methods = sorted({run.method for run in found}, key=method_order)
            rows += [_averages(section, rows, method, datasets, columns, metric) for method in methods]
        short = {name: max(len(run.record.split.short) for run in found if run.dataset == name) for name in datasets}
        tables.append(Table(section, metric, columns, rows, {name: count for name, count in short.items() if count}))
    return tables


def by_section(runs: Iterable[Run]) -> dict[Section, list[Run]]:
    """Runs that may stand in one table, by what they have in common, in order."""
    sections: dict[Section, list[Run]] = {}
    for run in runs:
        sections.setdefault(run.section, []).append(run)
    return dict(sorted(sections.items()))


def finished_by_seed(runs: Iterable[Run]) -> dict[int, Run]:
    """The finished ones in the order of their seeds. Two of one seed would be a cell of unlike runs."""
    finished: dict[int, Run] = {}
    for run in sorted((run for run in runs if run.finished), key=lambda run: run.seed):
        if run.seed in finished:
            raise VLPromptError(
                f"{run.folder} and {finished[run.seed].folder} are different runs that a table cannot tell apart; "
                "give it one of them"
            )
        finished[run.seed] = run
    return finished


def may_average(datasets: Collection[str]) -> bool:
    """Whether there are several, none of which is another split of another."""
    return len(datasets) > 1 and len({dataset.split(" (split ")[0] for dataset in datasets}) == len(datasets)


def shots_title(shots: int) -> str:
    """ "1 shot", "16 shots"."""
    return f"{shots} shot{'s' * (shots > 1)}"


def method_order(label: str) -> tuple[bool, str]:
    """What is compared with comes first."""
    return label != "zero-shot", label


def _columns(section: Section, runs: list[Run], metric: str) -> list[Column]:
    shots = sorted({run.shots for run in runs})
    most = shots[-1]
    costs = [PARAMETERS, SECONDS] if metric == "accuracy" else []
    if section.shots == 0:
        titles = {PARAMETERS: PARAMETERS, SECONDS: f"{SECONDS} ({shots_title(most)})"}
        tests = [Column("test", count, shots_title(count)) for count in shots]
        return [*tests, *(Column(cost, most, titles[cost]) for cost in costs)]
    there = {test for run in runs for test in run.tests}
    summaries = {"new": [OF_AVERAGES, OF_HARMONICS], "open-new": [OPEN_HARMONICS]}
    names: list[str] = []
    for test in (test for test in (*PROTOCOLS[section.protocol].tests, *section.targets) if test in there):
        names += [test, *(summaries.get(test, []) if metric == "accuracy" else [])]
    names += [TARGETS] * bool(section.targets)
    return [Column(name, most, name) for name in [*names, *costs]]


def _rows(section: Section, runs: list[Run], columns: list[Column], intervals: bool, metric: str) -> list[Row]:
    groups: dict[tuple[str, str, int], list[Run]] = {}
    seeds: dict[tuple[str, int], set[int]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.method, run.shots), []).append(run)
        seeds.setdefault((run.dataset, run.shots), set()).add(run.seed)
    datasets = {dataset for dataset, _, _ in groups}
    rows = []
    for dataset, method in sorted(
        {place[:2] for place in groups}, key=lambda place: (place[0], method_order(place[1]))
    ):
        values: dict[Column, Value] = {}
        for shots in dict.fromkeys(column.shots for column in columns):
            there, need = groups.get((dataset, method, shots), []), len(seeds.get((dataset, shots), ()))
            finished = list(finished_by_seed(there).values())
            whole = finished and len(finished) == need
            samples = _samples(section, finished, intervals, metric) if whole else {}
            for column in columns:
                if column.shots == shots:
                    paper = printed(section, datasets, dataset, method, shots, column.quantity, metric)
                    values[column] = Value(samples.get(column.quantity), len(finished), need, printed=paper)
        rows.append(Row(dataset, method, values))
    return rows


def _samples(section: Section, runs: list[Run], intervals: bool, metric: str) -> dict[str, Sample]:
    """Every quantity of the runs of all seeds of a cell."""
    values = measured(runs, metric)
    if metric != "accuracy":
        return {name: Sample(found) for name, found in (values | target_average(section, values)).items()}
    records = [run.record for run in runs]
    redrawn: dict[str, Floats] | None = None
    weights: Floats | None = None
    if intervals:
        rng = np.random.default_rng(derived_seed("bootstrap", *(record.result_hash for record in records)))
        weights = seed_weights(len(runs), rng)
        redrawn = {test: redrawn_means(right, rng) for test, right in right_answers(runs, list(values)).items()}
    samples = quantities(section, values, redrawn, weights)
    samples[PARAMETERS] = Sample(np.array([float(record.trainable_parameters) for record in records]))
    samples[SECONDS] = Sample(np.array([record.training_seconds for record in records]))
    return samples


def _averages(
    section: Section, rows: list[Row], method: str, datasets: list[str], columns: list[Column], metric: str
) -> Row:
    """A method's averages over datasets, where it is finished on all of them."""
    own = [row for row in rows if row.method == method]
    found: dict[str, Sample | None] = {}
    values: dict[Column, Value] = {}
    for column in columns:
        samples = [sample for row in own if (sample := row.values[column].sample) is not None]
        alike = len({len(sample.values) for sample in samples}) == 1
        if column.quantity == PARAMETERS:  # a probe has as many as there are classes, which has no average
            alike = alike and len({sample.mean for sample in samples}) == 1
        whole = len(samples) == len(datasets) and alike
        sample = average(samples) if whole else None
        base, new = found.get("base"), found.get("new")
        if column.quantity == OF_AVERAGES:
            sample = of_averages(base, new) if base and new else None
        found[column.quantity] = sample
        paper = printed(section, datasets, None, method, column.shots, column.quantity, metric)
        values[column] = Value(sample, len(samples), len(datasets), "datasets", paper)
    return Row(AVERAGE, method, values)
