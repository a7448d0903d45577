"""Build tables from run records: group runs into cells, and compute their values."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Conditions, Run
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
    """Column of a table: a quantity of the runs with a number of shots."""

    quantity: str
    shots: int
    title: str


@dataclass(frozen=True)
class Value:
    """Value of one cell of a table.

    Attributes:
        sample: Values over seeds; None if runs are missing, since incomplete seeds are never averaged.
        have: Number of finished seeds, or of datasets in an average.
        need: Number of seeds that any run of the dataset has, or of datasets in an average.
        of: "seeds" or "datasets".
        printed: Number that a paper printed for this cell.
    """

    sample: Sample | None
    have: int
    need: int
    of: str = "seeds"
    printed: Printed | None = None


@dataclass(frozen=True)
class MethodRow:
    """Row of a table: a method on one dataset, or averaged over all."""

    dataset: str
    method: str
    values: dict[Column, Value]


@dataclass(frozen=True)
class Table:
    """Table of comparable runs.

    Attributes:
        conditions: Conditions that the runs share.
        metric: Metric of the tests, as records name it.
        columns: Columns in display order.
        rows: Rows in display order.
        short: Number of classes with fewer training images than shots, for each dataset that has such classes.
        unlearned: Number of runs that hardly learned anything, for each (dataset, method) that has such runs.
    """

    conditions: Conditions
    metric: str
    columns: list[Column]
    rows: list[MethodRow]
    short: dict[str, int]
    unlearned: dict[tuple[str, str], int]

    @property
    def datasets(self) -> list[str]:
        """Datasets of the rows, without the average."""
        return list(dict.fromkeys(row.dataset for row in self.rows if row.dataset != AVERAGE))

    @property
    def methods(self) -> list[str]:
        """Methods of the rows, zero-shot first."""
        return sorted({row.method for row in self.rows}, key=method_order)


def make_tables(runs: Iterable[Run], *, intervals: bool = False, metric: str = "accuracy") -> list[Table]:
    """Make one table per set of conditions, with a row for each dataset and method, and averages over datasets.

    Args:
        runs: Runs from `find_runs`.
        intervals: Add bootstrap intervals over images and seeds, computed from the runs' predictions.
        metric: "accuracy", "macro_accuracy", "calibration_error" or "calibrated_error". Only accuracy has intervals,
            harmonic means, costs and the papers' numbers.

    Examples:
        >>> tables = make_tables(find_runs([Path("results")])[0], intervals=True)  # doctest: +SKIP
    """
    tables = []
    for conditions, found in by_conditions(runs).items():
        columns = _columns(conditions, found, metric)
        datasets = sorted({run.dataset for run in found})
        rows = _rows(conditions, found, columns, intervals, metric)
        if may_average(datasets):
            methods = sorted({run.method for run in found}, key=method_order)
            rows += [_averages(conditions, rows, method, datasets, columns, metric) for method in methods]
        short = {name: max(len(run.record.split.short) for run in found if run.dataset == name) for name in datasets}
        short = {name: count for name, count in short.items() if count}
        unlearned = Counter(
            (run.dataset, run.method) for run in found if run.record.learning and run.record.learning.problem
        )
        tables.append(Table(conditions, metric, columns, rows, short, unlearned))
    return tables


def by_conditions(runs: Iterable[Run]) -> dict[Conditions, list[Run]]:
    """Group runs by the conditions that they share, in sorted order."""
    groups: dict[Conditions, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.conditions, []).append(run)
    return dict(sorted(groups.items()))


def finished_by_seed(runs: Iterable[Run]) -> dict[int, Run]:
    """Return the finished runs of a cell by seed, in order of the seeds.

    Raises:
        VLPromptError: Two different runs have the same seed.
    """
    finished: dict[int, Run] = {}
    for run in sorted((run for run in runs if run.finished), key=lambda run: run.seed):
        if run.seed in finished:
            raise VLPromptError(
                f"{run.folder} and {finished[run.seed].folder} are different runs with the same labels and seed; "
                "leave one of them out"
            )
        finished[run.seed] = run
    return finished


def may_average(datasets: Collection[str]) -> bool:
    """Return whether there are several datasets, none of them splits of the same one."""
    return len(datasets) > 1 and len({dataset.split(" (split ")[0] for dataset in datasets}) == len(datasets)


def shots_title(shots: int) -> str:
    """Format a number of shots, such as "1 shot" or "16 shots"."""
    return f"{shots} shot{'s' * (shots > 1)}"


def method_order(label: str) -> tuple[bool, str]:
    """Sort key that puts the baseline first."""
    return label != "zero-shot", label


def _columns(conditions: Conditions, runs: list[Run], metric: str) -> list[Column]:
    shots = sorted({run.shots for run in runs})
    most = shots[-1]
    costs = [PARAMETERS, SECONDS] if metric == "accuracy" else []
    if conditions.shots == 0:
        titles = {PARAMETERS: PARAMETERS, SECONDS: f"{SECONDS} ({shots_title(most)})"}
        tests = [Column("test", count, shots_title(count)) for count in shots]
        return [*tests, *(Column(cost, most, titles[cost]) for cost in costs)]
    there = {test for run in runs for test in run.tests}
    summaries = {"new": [OF_AVERAGES, OF_HARMONICS], "open-new": [OPEN_HARMONICS]}
    names: list[str] = []
    for test in (test for test in (*PROTOCOLS[conditions.protocol].tests, *conditions.targets) if test in there):
        names += [test, *(summaries.get(test, []) if metric == "accuracy" else [])]
    names += [TARGETS] * bool(conditions.targets)
    return [Column(name, most, name) for name in [*names, *costs]]


def _rows(
    conditions: Conditions, runs: list[Run], columns: list[Column], intervals: bool, metric: str
) -> list[MethodRow]:
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
            samples = _samples(conditions, finished, intervals, metric) if whole else {}
            for column in columns:
                if column.shots == shots:
                    paper = printed(conditions, datasets, dataset, method, shots, column.quantity, metric)
                    values[column] = Value(samples.get(column.quantity), len(finished), need, printed=paper)
        rows.append(MethodRow(dataset, method, values))
    return rows


def _samples(conditions: Conditions, runs: list[Run], intervals: bool, metric: str) -> dict[str, Sample]:
    """Return every quantity of a cell, from the runs of all its seeds."""
    values = measured(runs, metric)
    if metric != "accuracy":
        return {name: Sample(found) for name, found in (values | target_average(conditions, values)).items()}
    records = [run.record for run in runs]
    redrawn: dict[str, Floats] | None = None
    weights: Floats | None = None
    if intervals:
        rng = np.random.default_rng(derived_seed("bootstrap", *(record.result_hash for record in records)))
        weights = seed_weights(len(runs), rng)
        redrawn = {test: redrawn_means(right, rng) for test, right in right_answers(runs, list(values)).items()}
    samples = quantities(conditions, values, redrawn, weights)
    samples[PARAMETERS] = Sample(np.array([float(record.trainable_parameters) for record in records]))
    samples[SECONDS] = Sample(np.array([record.training_seconds for record in records]))
    return samples


def _averages(
    conditions: Conditions, rows: list[MethodRow], method: str, datasets: list[str], columns: list[Column], metric: str
) -> MethodRow:
    """Return a method's averages over datasets, for the columns where it is finished on all of them."""
    own = [row for row in rows if row.method == method]
    found: dict[str, Sample | None] = {}
    values: dict[Column, Value] = {}
    for column in columns:
        samples = [sample for row in own if (sample := row.values[column].sample) is not None]
        alike = len({len(sample.values) for sample in samples}) == 1
        if column.quantity == PARAMETERS:  # the linear probe's number depends on the classes: no average
            alike = alike and len({sample.mean for sample in samples}) == 1
        whole = len(samples) == len(datasets) and alike
        sample = average(samples) if whole else None
        base, new = found.get("base"), found.get("new")
        if column.quantity == OF_AVERAGES:
            sample = of_averages(base, new) if base and new else None
        found[column.quantity] = sample
        paper = printed(conditions, datasets, None, method, column.shots, column.quantity, metric)
        values[column] = Value(sample, len(samples), len(datasets), "datasets", paper)
    return MethodRow(AVERAGE, method, values)
