"""Evaluate a method on all tests of a protocol, encoding every image once."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlprompt.config.protocols import PROTOCOLS, Evaluation
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.file_facts import content_hashes
from vlprompt.data.readers.split_file import recorded_hashes
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.record import Calibration, EvaluationRecord, RunRecord
from vlprompt.training.evaluation import Predictions, predict_logits
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.progress import Reporter

logger = logging.getLogger("vlprompt")


def tests_by_dataset(
    protocol: str, dataset: Dataset, targets: Mapping[str, Dataset]
) -> Iterator[tuple[Dataset, dict[str, Evaluation]]]:
    """Yield each dataset that a protocol tests, with its tests by name; none for few-shot without test images."""
    if dataset.test or protocol != "few-shot":  # a small dataset may have no test split
        yield dataset, PROTOCOLS[protocol].tests
    for name, target in targets.items():
        yield target, {name: Evaluation()}


def describe_tests(protocol: str, dataset: Dataset, targets: Mapping[str, Dataset]) -> dict[str, EvaluationRecord]:
    """Return the dataset, the content hash and the size of each test, by name.

    Raises:
        VLPromptError: a test has no images.
    """
    records = {}
    for tested, tests in tests_by_dataset(protocol, dataset, targets):
        for name, test in tests.items():
            part = test.select(tested)
            records[name] = EvaluationRecord(
                dataset=part.name, hash=part.content_hash, classes=len(part.class_names), images=len(part.test)
            )
    return records


def has_changed(record: RunRecord, dataset: Dataset, targets: Mapping[str, Dataset] | None = None) -> bool:
    """Return whether a run's dataset has other images than it had, or one of its tests has.

    Args:
        record: record of the run.
        dataset: the run's dataset as it is now, before shots are drawn.
        targets: the other datasets of the run as they are now; None to compare only its own dataset.
    """
    if record.split.pool not in ("", dataset.split_hash()):
        return True
    tests = describe_tests(record.config.protocol, dataset, targets or {})
    return any(name in record.tests and record.tests[name].hash != test.hash for name, test in tests.items())


def all_for_testing(dataset: Dataset, record: RunRecord, run: Path | None) -> Dataset:
    """Return a dataset that is given for testing with all of its images as test images, unless it came with a split.

    The run's own dataset keeps its split. From another one, images that the run learned from are left out.

    Args:
        dataset: the dataset.
        record: record of the run to test.
        run: its folder; None if it has none.

    Raises:
        VLPromptError: no image is left.
    """
    # Folders with the same file names are common, so that the images themselves are compared, too.
    is_own = dataset.split_hash() == record.split.pool and not has_changed(record, dataset)
    if dataset.split_seed is None or is_own:
        if dataset.train or dataset.val:
            logger.info("testing the %s test images of %s", f"{len(dataset.test):,}", dataset.name)
        return dataset
    tested = dataset.for_testing
    learned = recorded_hashes(run / "split.jsonl") if run else set()
    hashes = content_hashes(tested.root, [item.path for item in tested.test])
    kept = tuple(item for item, found in zip(tested.test, hashes, strict=True) if found not in learned)
    count = len(tested.test) - len(kept)
    if not kept:
        raise VLPromptError(f"the run learned from all {count:,} images of {dataset.name}; pass other ones as `data`")
    but = f" except {count:,} that the run learned from" if count else ""
    logger.info("testing all %s images of %s%s", f"{len(tested.test):,}", dataset.name, but)
    return replace(tested, test=kept)


def run_tests(
    config: RunConfig,
    dataset: Dataset,
    targets: Mapping[str, Dataset],
    method: Method[Any],
    reporter: Reporter,
    seconds: dict[str, float] | None = None,
) -> dict[str, Predictions]:
    """Run all tests of the protocol. The method's own classes are restored afterwards.

    The images of a dataset are classified once, among all of its classes. A test with fewer classes uses a subset
    of the columns of these logits, since the feature of a class does not depend on the other classes.

    Args:
        config: complete configuration.
        dataset: dataset that the method was tuned on.
        targets: other datasets, by the names of their tests.
        method: tuned method.
        reporter: shows progress.
        seconds: seconds spent by kind of work, of which "encode" and "test" are updated; None if they do not matter.

    Returns:
        the predictions, by the test's name.
    """
    predictions = {}
    seconds = {} if seconds is None else seconds
    for tested, tests in tests_by_dataset(config.protocol, dataset, targets):
        title = f"test {tested.name}" if targets else "test"
        logits = _logits(config, tested, method, reporter, title, seconds)  # (N, C)
        for name, test in tests.items():
            images, classes = test.labels(len(tested.class_names))
            rows = [number for number, item in enumerate(tested.test) if item.label in images]
            part = test.select(tested)
            predictions[name] = Predictions(
                logits[rows, classes.start : classes.stop].softmax(-1),
                torch.tensor([item.label for item in part.test]),
                [item.path for item in part.test],
                part.class_names,
            )
    return predictions


def summarize(
    protocol: str, predictions: dict[str, Predictions], calibration: Calibration | None = None
) -> dict[str, Any]:
    """Return the metrics of every test by name, and the protocol's summaries over several tests, in percent."""
    temperature = calibration.temperature if calibration else None
    metrics = {test: found.metrics(temperature) for test, found in predictions.items()}
    return {**metrics, **PROTOCOLS[protocol].summary(metrics)}


def new_names(method: Method[Any], dataset: Dataset) -> tuple[str, ...]:
    """Return the dataset's class names if the method lacks any of them, otherwise an empty tuple."""
    return () if set(dataset.class_names) <= set(method.class_names) else dataset.class_names


def add_seconds(seconds: dict[str, float], **spent: float) -> None:
    """Add seconds by kind of work."""
    for part, value in spent.items():
        seconds[part] = seconds.get(part, 0.0) + value


def _logits(
    config: RunConfig,
    dataset: Dataset,
    method: Method[Any],
    reporter: Reporter,
    title: str,
    seconds: dict[str, float],
) -> Tensor:
    """Return the logits (N, C) of all test images among all classes of the dataset."""
    begun = time.monotonic()
    runtime, before, names = config.runtime, method.class_names, new_names(method, dataset)
    if names:
        method.set_class_names(names)
    inputs = evaluation_inputs(method, dataset.test, dataset.root, config, reporter, frozen=False)
    encoded = time.monotonic()
    with reporter.bar(title) as bar:
        logits = predict_logits(method, inputs, batch_size=runtime.eval_batch_size, workers=runtime.workers, bar=bar)
    logits = logits[:, [method.class_names.index(name) for name in dataset.class_names]]
    if names:
        method.set_class_names(before)
    add_seconds(seconds, encode=encoded - begun, test=time.monotonic() - encoded)
    return logits
