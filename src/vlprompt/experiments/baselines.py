"""Baselines of a run: chance, zero-shot, and a linear probe on the same shots and tests."""

import logging
import time
from contextlib import suppress
from typing import Any, Final

import torch
from torch import Tensor

from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import add_seconds, tests_by_dataset
from vlprompt.experiments.learning import prepare
from vlprompt.experiments.task import Task
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.methods.shots import frozen_features
from vlprompt.runs.record import Baseline
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.progress import Reporter

logger = logging.getLogger("vlprompt")

PROBED_SHOTS = 4000  # fitting takes seconds up to here (100 classes of 16: 6), and minutes for ImageNet's 16,000
PROBE: Final = "linear-probe"
ZERO_SHOT: Final = "zero-shot"
CHANCE: Final = "chance"


@torch.no_grad()
def measure_baselines(
    task: Task, method: Method[Any], reporter: Reporter, seconds: dict[str, float]
) -> dict[Baseline, dict[str, float]]:
    """Measure the baselines of a run on all of its tests, from frozen features.

    Args:
        task: the run.
        method: the run's method, which is not measured again where it is a baseline itself.
        reporter: shows progress.
        seconds: seconds spent by kind of work; "baselines" is updated.

    Returns:
        the accuracy in percent by test, by baseline. The probe lacks tests with classes that it did not learn, and is
        not fitted to more than 4,000 shots; zero-shot lacks datasets with names too long for the hand-crafted prompt.
    """
    if not task.tests:
        return {}
    begun = time.monotonic()
    probe = None if method.name == PROBE else _probe(task, reporter)
    found: dict[Baseline, dict[str, float]] = {PROBE: {}, ZERO_SHOT: {}, CHANCE: {}}
    for dataset, tests in tests_by_dataset(task.config.protocol, task.dataset, task.targets):
        inputs = evaluation_inputs(method, dataset.test, dataset.root, task.config, reporter, frozen=True)
        features, truth = frozen_features(task.backbone, inputs)  # (N, D), (N,)
        text = None if method.name == ZERO_SHOT else _text_features(method, dataset)  # (C, D)
        for name, test in tests.items():
            images, classes = test.labels(len(dataset.class_names))
            chosen = torch.isin(truth, torch.tensor(images, device=truth.device))
            labels, tested = truth[chosen] - classes.start, features[chosen]
            found[CHANCE][name] = round(100 / len(classes), 4)
            if text is not None:
                found[ZERO_SHOT][name] = _accuracy(tested @ text[classes.start : classes.stop].T, labels)
            names = dataset.class_names[classes.start : classes.stop]
            if probe is not None and set(names) <= set(probe.class_names):
                columns = [probe.class_names.index(known) for known in names]
                logits = probe.classify(tested, tested.new_empty(0)).logits  # it reads no text
                found[PROBE][name] = _accuracy(logits[:, columns], labels)
    add_seconds(seconds, baselines=time.monotonic() - begun)
    return {baseline: accuracies for baseline, accuracies in found.items() if accuracies}


def _probe(task: Task, reporter: Reporter) -> Method[Any] | None:
    """Return a linear probe that is fitted to the shots; None for too many shots."""
    shots = task.shots
    if len(shots.train) > PROBED_SHOTS:
        logger.info("no linear probe beside the result: %s shots take minutes; run it by itself", len(shots.train))
        return None
    probe = create_method(PROBE, task.backbone, shots.class_names)
    prepare(task, probe, reporter)
    return probe


def _text_features(method: Method[Any], dataset: Dataset) -> Tensor | None:
    """Return the dataset's classes (C, D) in the method's template; None if a name is too long for it."""
    with suppress(VLPromptError):
        return method.backbone.template_features(method.options.template_list, dataset.class_names)
    return None


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return round(100 * (logits.argmax(1) == labels).double().mean().item(), 4)
