"""The tests of a run, each image encoded once for all of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlprompt.config.protocols import PROTOCOLS, Evaluation
from vlprompt.config.schema import RunConfig
from vlprompt.data.class_names import as_words
from vlprompt.data.dataset import Dataset
from vlprompt.methods.base import Method
from vlprompt.runs.record import Calibration, EvaluationRecord
from vlprompt.training.evaluation import Predictions, predict_logits
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.progress import Reporter


def describe_tests(protocol: str, dataset: Dataset, targets: Mapping[str, Dataset]) -> dict[str, EvaluationRecord]:
    """What every test is of. VLPromptError where one has no images."""
    records = {}
    for tested, tests in _by_dataset(protocol, dataset, targets):
        for name, test in tests.items():
            part = test.of(tested)
            records[name] = EvaluationRecord(
                dataset=part.name, hash=part.content_hash, classes=len(part.class_names), images=len(part.test)
            )
    return records


def run_tests(
    config: RunConfig, dataset: Dataset, targets: Mapping[str, Dataset], method: Method[Any], reporter: Reporter
) -> dict[str, Predictions]:
    """Predictions of every test of the protocol. The method ends with the classes it had.

    A dataset's images are classified once, among all of its classes. What a test asks is read off: since the features
    of a class do not depend on the others that are named, the classes that do not compete are columns left out.

    Args:
        config: of the run.
        dataset: the one that was learned from.
        targets: the others, by the names of their tests.
        method: tuned.
        reporter: shows progress.
    """
    found = {}
    for tested, tests in _by_dataset(config.protocol, dataset, targets):
        logits = _logits(config, tested, method, reporter, f"test {tested.name}" if targets else "test")  # (N, C)
        for name, test in tests.items():
            images, classes = test.labels(len(tested.class_names))
            rows = [number for number, item in enumerate(tested.test) if item.label in images]
            part = test.of(tested)
            found[name] = Predictions(
                logits[rows, classes.start : classes.stop].softmax(-1),
                torch.tensor([item.label for item in part.test]),
                [item.path for item in part.test],
                part.class_names,
            )
    return found


def summarize(
    protocol: str, predictions: dict[str, Predictions], calibration: Calibration | None = None
) -> dict[str, Any]:
    """Metrics of every test by its name, and what the protocol computes from several."""
    temperature = calibration.temperature if calibration else None
    metrics = {test: found.metrics(temperature) for test, found in predictions.items()}
    return {**metrics, **PROTOCOLS[protocol].summary(metrics)}


def new_names(method: Method[Any], dataset: Dataset) -> tuple[str, ...]:
    """The dataset's class names, if the method has to be told them; none if it has them among its own."""
    names = as_words(dataset.class_names)
    return () if Counter(names) <= Counter(method.class_names) else names


def columns(names: Sequence[str], among: Sequence[str]) -> list[int]:
    """Where the names stand among others. Of classes that are called alike, the first is the first there."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(among):
        places.setdefault(name, []).append(place)
    return [places[name].pop(0) for name in names]


def _by_dataset(
    protocol: str, dataset: Dataset, targets: Mapping[str, Dataset]
) -> Iterator[tuple[Dataset, dict[str, Evaluation]]]:
    if dataset.test or protocol != "few-shot":  # a user's few pictures may all be needed to learn from
        yield dataset, PROTOCOLS[protocol].tests
    for name, target in targets.items():
        yield target, {name: Evaluation()}


def _logits(config: RunConfig, dataset: Dataset, method: Method[Any], reporter: Reporter, title: str) -> Tensor:
    """Logits of all test images among all classes of the dataset."""
    runtime, before, names = config.runtime, method.class_names, new_names(method, dataset)
    if names:
        method.set_class_names(names)
    inputs = evaluation_inputs(method, dataset.test, dataset.root, config, reporter, frozen=False)
    with reporter.bar(title) as bar:
        logits = predict_logits(method, inputs, batch_size=runtime.eval_batch_size, workers=runtime.workers, bar=bar)
    logits = logits[:, columns(as_words(dataset.class_names), method.class_names)]
    if names:
        method.set_class_names(before)
    return logits
