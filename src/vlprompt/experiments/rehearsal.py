"""Measure the training and test speed of a method on one batch, before a grid starts."""

import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.sampling import spaced
from vlprompt.experiments.learning import train
from vlprompt.experiments.run import new_record
from vlprompt.experiments.task import Task
from vlprompt.training.evaluation import predict_logits
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.progress import Reporter

EPOCHS = 3  # the first one warms up


@dataclass(frozen=True)
class Pace:
    """Measured speed of a method.

    Attributes:
        train: seconds per training image and epoch.
        test: seconds per test image.
        names: seconds to encode the class names of the tests.
    """

    train: float
    test: float
    names: float = 0.0


def mean_pace(paces: list[Pace]) -> Pace:
    """Return the mean of paces, field by field."""
    return Pace(*(sum(getattr(pace, part.name) for pace in paces) / len(paces) for part in fields(Pace)))


def rehearse(task: Task) -> Pace:
    """Measure a method's pace: train on one batch for a few epochs, test one batch, and discard the result.

    Encoding frozen features is excluded, since all methods share the cached ones.
    """
    config, reporter = task.config, Reporter(quiet=True)
    changes = {
        "optim": {"epochs": EPOCHS, "warmup_epochs": 0},
        "data": {"views": min(config.data.views, 1)},
        "runtime": {"devices": 1, "tensorboard": False},
    }
    config = config.model_copy(
        update={section: getattr(config, section).model_copy(update=values) for section, values in changes.items()}
    )
    places = spaced(len(task.shots.train), config.optim.batch_size)
    few = replace(task.shots, train=tuple(task.shots.train[place] for place in places), val=())
    part, method = replace(task, config=config, shots=few), task.method()
    record = new_record(part)
    with tempfile.TemporaryDirectory() as folder:
        train(part, method, record, Path(folder), reporter, resume=False)
    epoch = min((epoch.seconds for epoch in record.history[1:]), default=0.0)

    def test(items: tuple[Item, ...]) -> float:
        inputs = evaluation_inputs(method, items, task.dataset.root, config, reporter, frozen=False)
        begun = time.monotonic()
        with reporter.bar("test") as bar:
            predict_logits(method, inputs, batch_size=config.runtime.eval_batch_size, workers=0, bar=bar)
        return time.monotonic() - begun

    tested = task.dataset.test[: config.optim.batch_size]
    test(tested)  # warms up
    one, all_ = test(tested[:1]), test(tested)
    return Pace(epoch / len(few.train), max(0.0, all_ - one) / len(tested), one)
