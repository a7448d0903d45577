"""Quantities in a table's cells: the accuracy of each test, and summaries of several tests."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlprompt.config.protocols import PROTOCOLS, harmonic_mean
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Conditions, Run
from vlprompt.results.statistics import Floats, Sample
from vlprompt.runs.record import PREDICTIONS

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


def right_answers(runs: Sequence[Run], tests: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return whether each of S runs classified each of N images correctly (S, N), by test.

    Raises:
        VLPromptError: Predictions cannot be read, or the runs were tested on different images.
    """
    import polars  # takes 0.2 s to import, and most tables need no predictions

    right: dict[str, list[NDArray[Any]]] = {test: [] for test in tests}
    images: dict[str, list[tuple[str, int]]] = {}
    for run in runs:
        try:
            content = io.BytesIO((run.folder / PREDICTIONS).read_bytes())
            table = polars.read_parquet(content).sort("test", "path")
        except Exception as error:  # a damaged file or archive can raise almost anything
            raise VLPromptError(
                f"{run.folder / PREDICTIONS} cannot be read, but intervals and paired tests need it"
            ) from error
        for test in tests:
            part = table.filter(polars.col("test") == test)
            found = part.select("path", "label").rows()
            if images.setdefault(test, found) != found:
                raise VLPromptError(
                    f"{run.folder} and {runs[0].folder} were tested on different images; leave one of them out"
                )
            right[test].append((part["label"] == part["prediction"]).to_numpy())
    return {test: np.stack(found) for test, found in right.items()}
