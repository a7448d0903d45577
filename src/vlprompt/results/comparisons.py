"""Paired comparisons of methods on the same images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlprompt.errors import VLPromptError
from vlprompt.results.collect import Conditions, Run
from vlprompt.results.quantities import OF_AVERAGES, measured, quantities, right_answers
from vlprompt.results.statistics import Sample, average, holm, redrawn_means, seed_weights, sign_flip_p
from vlprompt.results.tables import AVERAGE, by_conditions, finished_by_seed, may_average, method_order, shots_title
from vlprompt.utils.seeds import derived_seed


@dataclass(frozen=True)
class Difference:
    """Difference between a method's accuracy and the baseline's on the same images and seeds.

    Attributes:
        dataset: Dataset, or "average".
        quantity: Quantity as tables name it; "16 shots" if the columns are numbers of shots.
        method: Method that is compared with the baseline.
        ours: Accuracy of the method in %.
        theirs: Accuracy of the baseline in %.
        sample: Difference in points, with its bootstrap replicates.
        p: P-value of `sign_flip_p`; None for quantities computed from several tests.
        corrected: P-value corrected by Holm's procedure for all tests of the comparison.
        have: Number of seeds compared, or of datasets in an average.
        need: Number of seeds that either method has, or of datasets in an average.
    """

    dataset: str
    quantity: str
    method: str
    ours: float
    theirs: float
    sample: Sample
    p: float | None
    corrected: float | None
    have: int
    need: int


@dataclass(frozen=True)
class Comparison:
    """Differences of several methods from one baseline.

    Attributes:
        conditions: Conditions that the runs share.
        against: Baseline method.
        differences: Differences by dataset and test.
        left_out: One line for each run without a counterpart on the same split and seed.
    """

    conditions: Conditions
    against: str
    differences: list[Difference]
    left_out: list[str]

    @property
    def tests(self) -> int:
        """Number of p-values that Holm's procedure corrected for."""
        return sum(difference.p is not None for difference in self.differences)


def compare(runs: Sequence[Run], methods: Sequence[str]) -> list[Comparison]:
    """Compare methods with the first one, once for all runs that share conditions.

    Args:
        runs: Runs from `find_runs`.
        methods: Method labels as in tables; the first is the baseline.

    Raises:
        VLPromptError: A method has no runs, fewer than two methods are given, or predictions cannot be read.

    Examples:
        >>> comparisons = compare(find_runs([Path("results")])[0], ["coop", "dapt"])  # doctest: +SKIP
    """
    if len(set(methods)) < 2:
        got = ", ".join(methods) or "none"
        raise VLPromptError(f"a comparison needs at least two methods, such as coop,dapt, got {got}")
    known = sorted({run.method for run in runs}, key=method_order)
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise VLPromptError(f"no runs of {', '.join(unknown)}; methods with runs: {', '.join(known)}")
    against, *others = dict.fromkeys(methods)
    comparisons = []
    for conditions, found in by_conditions(runs).items():
        differences: list[Difference] = []
        left_out: list[str] = []
        for method in others:
            own, alone = _differences(conditions, found, method, against)
            differences += own
            left_out += alone
        if differences or left_out:
            comparisons.append(Comparison(conditions, against, _corrected(_ordered(differences)), left_out))
    return comparisons


def _differences(
    conditions: Conditions, runs: list[Run], method: str, against: str
) -> tuple[list[Difference], list[str]]:
    """Return one method's differences, with averages if no dataset is missing, and a line for each run left out."""
    if {method, against} - {run.method for run in runs}:
        return [], []
    places = sorted({(run.dataset, run.shots) for run in runs if run.method in (method, against)})
    differences, alone = [], []
    for dataset, shots in places:
        here = [run for run in runs if (run.dataset, run.shots) == (dataset, shots)]
        ours, theirs = (finished_by_seed(run for run in here if run.method == name) for name in (method, against))
        seeds = [seed for seed in ours if seed in theirs and _same_split(ours[seed], theirs[seed])]
        seeds_of_either = {run.seed for run in here if run.method in (method, against)}
        for run in here:
            if run.method in (method, against) and run.seed not in seeds:
                missing = f"no finished run of {method if run.method == against else against} on the same split"
                reason = missing if run.finished else run.record.status
                alone.append(f"{run.method} on {dataset}, {shots_title(shots)}, seed {run.seed}: {reason}")
        if seeds:
            pair = ([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
            differences += _paired(conditions, dataset, method, *pair, need=len(seeds_of_either))
    datasets = {dataset for dataset, _ in places}
    if may_average(datasets):
        for quantity in dict.fromkeys(difference.quantity for difference in differences):
            of_quantity = [difference for difference in differences if difference.quantity == quantity]
            differences += _averaged(of_quantity, len(datasets))
    return differences, list(dict.fromkeys(alone))


def _same_split(one: Run, other: Run) -> bool:
    """Return whether two runs learned from the same images and were tested on the same ones."""
    tests = one.record.tests, other.record.tests
    alike = all(tests[0][name].hash == tests[1][name].hash for name in tests[0].keys() & tests[1].keys())
    return one.record.split.content == other.record.split.content and alike


def _paired(
    conditions: Conditions, dataset: str, method: str, ours: list[Run], theirs: list[Run], *, need: int
) -> list[Difference]:
    """Return the differences of all quantities that both have, with images and seeds resampled jointly."""
    count = len(ours)
    values = [measured(runs) for runs in (ours, theirs)]
    tests = [test for test in values[0] if test in values[1]]
    right = right_answers([*ours, *theirs], tests)  # (2S, N)
    rng = np.random.default_rng(derived_seed("paired", *(run.record.result_hash for run in (*ours, *theirs))))
    weights = seed_weights(count, rng)
    redrawn = {test: redrawn_means(right[test], rng) for test in tests}
    own, other = (
        quantities(
            conditions, {test: found[test] for test in tests}, {test: redrawn[test][:, part] for test in tests}, weights
        )
        for found, part in zip(values, (slice(count), slice(count, None)), strict=True)
    )
    differences = []
    for quantity in own:
        if quantity == OF_AVERAGES:  # a single number; "average H" has one per seed
            continue
        a, b = own[quantity], other[quantity]
        assert a.replicates is not None and b.replicates is not None
        sample = Sample(a.values - b.values, a.replicates - b.replicates)
        p = None
        if quantity in tests:
            p = sign_flip_p(right[quantity][:count].astype(np.int8) - right[quantity][count:])
        name = shots_title(ours[0].shots) if conditions.shots == 0 else quantity
        differences.append(Difference(dataset, name, method, a.mean, b.mean, sample, p, None, count, need))
    return differences


def _averaged(differences: list[Difference], datasets: int) -> list[Difference]:
    """Return the average over datasets, without a p-value; nothing if a dataset or seed is missing."""
    whole = len(differences) == datasets and all(found.have == found.need for found in differences)
    if not whole or len({found.have for found in differences}) > 1:
        return []
    ours, theirs = (float(np.mean([getattr(found, name) for found in differences])) for name in ("ours", "theirs"))
    sample = average([found.sample for found in differences])
    first = differences[0]
    return [Difference(AVERAGE, first.quantity, first.method, ours, theirs, sample, None, None, datasets, datasets)]


def _ordered(differences: list[Difference]) -> list[Difference]:
    """Sort by dataset, the average last, and by test, so that methods of one test are adjacent."""
    tests = list(dict.fromkeys(found.quantity for found in differences))
    return sorted(differences, key=lambda found: (found.dataset == AVERAGE, found.dataset, tests.index(found.quantity)))


def _corrected(differences: list[Difference]) -> list[Difference]:
    corrected = iter(holm([found.p for found in differences if found.p is not None]))
    return [found if found.p is None else replace(found, corrected=next(corrected)) for found in differences]
