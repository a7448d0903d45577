"""Quantities in a table's cells: the accuracy of each test, and summaries of several tests."""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlprompt.config.protocols import PROTOCOLS, harmonic_mean
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Conditions, Run
from vlprompt.results.statistics import Floats, Sample
from vlprompt.runs.record import PREDICTIONS

if TYPE_CHECKING:
    import polars

OF_AVERAGES, OF_HARMONICS, OPEN_HARMONICS = "H of averages", "average H", "average open H"
TARGETS = "target average"

# Names in tables of a record's summaries over tests.
MEANS = {"harmonic_mean": OF_HARMONICS, "open_harmonic_mean": OPEN_HARMONICS}


def measured(runs: Sequence[Run], metric: str = "accuracy") -> dict[str, Floats]:
    """Return a metric of every run (S,) by test, for the tests that all runs have."""
    records = [run.record for run in runs]
    return {
        test: np.array([record.metrics[test][metric] for record in records])
        for test in runs[0].tests
        if all(metric in record.metrics.get(test, {}) for record in records)
    }


def quantities(
    conditions: Conditions,
    accuracies: Mapping[str, Floats],
    redrawn: Mapping[str, Floats] | None = None,
    weights: Floats | None = None,
) -> dict[str, Sample]:
    """Return accuracies, their harmonic means and the average over targets by name.

    Args:
        conditions: Conditions of the runs.
        accuracies: Accuracy of every seed (S,), by test.
        redrawn: Accuracy of every seed in every bootstrap replicate (R, S), by test; None without bootstrap.
        weights: Share of each seed in every replicate (R, S); None without bootstrap.
    """

    def all_of(found: Mapping[str, Floats]) -> dict[str, Floats]:
        every = dict(found)
        for mean, (base, new) in PROTOCOLS[conditions.protocol].means.items():
            if base in found and new in found:
                every[MEANS[mean]] = harmonic_mean(found[base], found[new])
        return every | target_average(conditions, found)

    drawn = {} if redrawn is None else all_of(redrawn)
    samples = {
        name: Sample(values, (weights * drawn[name]).sum(1) if weights is not None else None)
        for name, values in all_of(accuracies).items()
    }
    if OF_HARMONICS in samples:
        samples[OF_AVERAGES] = of_averages(samples["base"], samples["new"])
    return samples


def target_average(conditions: Conditions, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the mean over targets by name; empty without targets, or if one of them is missing."""
    if not conditions.targets or not found.keys() >= set(conditions.targets):
        return {}
    return {TARGETS: np.mean([found[target] for target in conditions.targets], axis=0)}


def of_averages(base: Sample, new: Sample) -> Sample:
    """Return the harmonic mean of two means: a single number, with an interval but no spread over seeds."""
    drawn = None
    if base.replicates is not None and new.replicates is not None:
        drawn = harmonic_mean(base.replicates, new.replicates)
    return Sample(np.array([harmonic_mean(base.mean, new.mean)]), drawn)


def have_predictions(runs: Sequence[Run]) -> bool:
    """Return whether all finished runs have predictions, which may have been deleted to save space."""
    return all((run.folder / PREDICTIONS).is_file() for run in runs if run.finished)


def with_sound_predictions(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Leave out finished runs whose predictions contradict their record, or those of the other runs on the same images.

    Runs without predictions stay.

    Returns:
        The other runs, and a line for each that is left out.
    """
    kept, left_out = list(runs), []
    images: dict[tuple[str, str], list[tuple[bytes, Run]]] = {}
    for run in runs:
        if not run.finished or not (run.folder / PREDICTIONS).is_file():
            continue
        try:
            for test, (content, accuracy) in _tested(run).items():
                if abs(accuracy - run.record.metrics[test]["accuracy"]) > 0.01:
                    raise VLPromptError(
                        f"{run.folder / PREDICTIONS} contradicts the accuracy of {test!r:.40} in run.json"
                    )
                if test in run.record.tests:
                    images.setdefault((test, run.record.tests[test].hash), []).append((content, run))
        except VLPromptError as error:
            left_out.append(str(error))
            kept.remove(run)
    for (test, _), found in images.items():
        usual = Counter(content for content, _ in found).most_common(1)[0][0]
        for content, run in found:
            if content != usual and run in kept:
                left_out.append(f"{run.folder / PREDICTIONS} is of other images than other runs' of {test!r:.40}")
                kept.remove(run)
    return kept, left_out


def right_answers(runs: Sequence[Run], tests: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return whether each of S runs classified each of N images correctly (S, N), by test.

    Raises:
        VLPromptError: Predictions cannot be read, or the runs were tested on different images.
    """
    right: dict[str, list[NDArray[Any]]] = {test: [] for test in tests}
    images: dict[str, list[tuple[str, int]]] = {}
    for run in runs:
        table = _read_predictions(run)
        for test in tests:
            part = table.filter(table["test"] == test)
            found = part.select("path", "label").rows()
            if images.setdefault(test, found) != found:
                raise VLPromptError(
                    f"{run.folder} and {runs[0].folder} were tested on different images; leave one of them out"
                )
            right[test].append((part["label"] == part["prediction"]).to_numpy())
    return {test: np.stack(found) for test, found in right.items()}


def _read_predictions(run: Run) -> "polars.DataFrame":
    import polars  # takes 0.2 s to import, and most tables need no predictions

    try:
        content = io.BytesIO((run.folder / PREDICTIONS).read_bytes())
        types = {"test": polars.String, "path": polars.String, "label": polars.Int64, "prediction": polars.Int64}
        columns = [polars.col(name).cast(kind) for name, kind in types.items()]
        table = polars.read_parquet(content).select(columns).sort("test", "path")
    except Exception as error:  # a damaged file or archive can raise almost anything
        raise VLPromptError(
            f"{run.folder / PREDICTIONS} cannot be read, but intervals and paired tests need it"
        ) from error
    if table.null_count().sum_horizontal().item():
        raise VLPromptError(f"{run.folder / PREDICTIONS} cannot be used: it has empty cells")
    return table


def _tested(run: Run) -> dict[str, tuple[bytes, float]]:
    """Return a hash of the images of each test of a run, with their labels, and the accuracy on them in %."""
    table, found = _read_predictions(run), {}
    for test in (test for test, values in run.record.metrics.items() if isinstance(values, dict)):
        part = table.filter(table["test"] == test)
        if len(part) != run.record.metrics[test]["images"] or not len(part):
            raise VLPromptError(
                f"{run.folder / PREDICTIONS} has {len(part)} predictions of {test!r:.40}, run.json "
                f"{run.record.metrics[test]['images']}"
            )
        content = repr(part.select("path", "label").rows()).encode()
        found[test] = (
            hashlib.sha256(content).digest(),
            100 * int((part["label"] == part["prediction"]).sum()) / len(part),
        )
    return found
