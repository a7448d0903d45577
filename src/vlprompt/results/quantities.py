"""What is measured of the runs of a cell: the accuracy of each test, and what is computed from several."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars
from numpy.typing import NDArray

from vlprompt.config.protocols import PROTOCOLS, harmonic_mean
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Run, Section
from vlprompt.results.statistics import Floats, Sample
from vlprompt.runs.record import PREDICTIONS

OF_AVERAGES, OF_HARMONICS, OPEN_HARMONICS = "H of averages", "average H", "average open H"
TARGETS = "target average"

# What tables call the numbers that a record has beside its tests.
MEANS = {"harmonic_mean": OF_HARMONICS, "open_harmonic_mean": OPEN_HARMONICS}


def measured(runs: Sequence[Run], metric: str = "accuracy") -> dict[str, Floats]:
    """A metric of every run (S,), by test; without tests that one of the runs does not have."""
    records = [run.record for run in runs]
    return {
        test: np.array([record.metrics[test][metric] for record in records])
        for test in runs[0].tests
        if all(metric in record.metrics.get(test, {}) for record in records)
    }


def quantities(
    section: Section,
    accuracies: Mapping[str, Floats],
    redrawn: Mapping[str, Floats] | None = None,
    weights: Floats | None = None,
) -> dict[str, Sample]:
    """Accuracies, their harmonic means and the average over targets, by the name of each.

    Args:
        section: of the runs.
        accuracies: of every seed (S,), by test.
        redrawn: those of every bootstrap replicate (R, S), by test; None for no bootstrap.
        weights: share of each seed in every replicate (R, S), likewise.
    """

    def all_of(found: Mapping[str, Floats]) -> dict[str, Floats]:
        every = dict(found)
        for mean, (base, new) in PROTOCOLS[section.protocol].means.items():
            if base in found and new in found:
                every[MEANS[mean]] = harmonic_mean(found[base], found[new])
        return every | target_average(section, found)

    drawn = {} if redrawn is None else all_of(redrawn)
    samples = {
        name: Sample(values, (weights * drawn[name]).sum(1) if weights is not None else None)
        for name, values in all_of(accuracies).items()
    }
    if OF_HARMONICS in samples:
        samples[OF_AVERAGES] = of_averages(samples["base"], samples["new"])
    return samples


def target_average(section: Section, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """The mean over targets by its name; nothing where there are none, or one of them is not there."""
    if not section.targets or not found.keys() >= set(section.targets):
        return {}
    return {TARGETS: np.mean([found[target] for target in section.targets], axis=0)}


def of_averages(base: Sample, new: Sample) -> Sample:
    """Harmonic mean of two means; that is one number, so it has an interval but no spread over seeds."""
    drawn = None
    if base.replicates is not None and new.replicates is not None:
        drawn = harmonic_mean(base.replicates, new.replicates)
    return Sample(np.array([harmonic_mean(base.mean, new.mean)]), drawn)


def have_predictions(runs: Sequence[Run]) -> bool:
    """Whether the predictions of all finished runs are there; records can be kept without them."""
    return all((run.folder / PREDICTIONS).is_file() for run in runs if run.finished)


def right_answers(runs: Sequence[Run], tests: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which of a test's N images each of S runs got right (S, N), by test.

    Raises:
        VLPromptError: predictions that cannot be read, or runs that were tested on different images.
    """
    right: dict[str, list[NDArray[Any]]] = {test: [] for test in tests}
    images: dict[str, list[tuple[str, int]]] = {}
    for run in runs:
        try:
            table = polars.read_parquet(run.folder / PREDICTIONS, glob=False).sort("test", "path")
        except (OSError, polars.exceptions.PolarsError) as error:
            raise VLPromptError(
                f"{run.folder} has no predictions that can be read, which intervals and paired tests are made of"
            ) from error
        for test in tests:
            part = table.filter(polars.col("test") == test)
            found = part.select("path", "label").rows()
            if images.setdefault(test, found) != found:
                raise VLPromptError(f"{run.folder} and {runs[0].folder} were tested on different images")
            right[test].append((part["label"] == part["prediction"]).to_numpy())
    return {test: np.stack(found) for test, found in right.items()}
