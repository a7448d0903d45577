"""Measure the speed of a method on one batch, and count the features to encode, before a grid starts."""

import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

from vlprompt.backbones.backbone import Backbone
from vlprompt.data.dataset import Item
from vlprompt.data.features import encode_features, features_to_encode
from vlprompt.data.image_set import ImageSet
from vlprompt.data.sampling import spaced
from vlprompt.experiments.learning import train
from vlprompt.experiments.run import new_record
from vlprompt.experiments.task import Task
from vlprompt.training.evaluation import predict_logits
from vlprompt.training.inputs import (
    augmented_images,
    encoder_key,
    evaluation_images,
    evaluation_inputs,
    frozen_encoder,
)
from vlprompt.utils.progress import Reporter

EPOCHS = 3  # the first one warms up
ENCODED = 8  # images to measure the pace of encoding


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

    Encoding frozen features is excluded, since methods share them: see `encoding_pace`.
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


def encoding_pace(task: Task, precision: str | None) -> float:
    """Measure the seconds that reading an image and encoding it takes, on a few shots.

    Args:
        task: run whose shots are read.
        precision: precision in which OpenVINO runs the image tower; None for PyTorch.
    """
    backbone, shots = task.backbone, task.shots
    encode = frozen_encoder(backbone, precision, Reporter(quiet=True))

    def seconds(count: int) -> float:
        items = tuple(shots.train[place] for place in spaced(len(shots.train), count))
        begun = time.monotonic()
        encode_features(
            augmented_images(backbone, items, shots.root, task.config),
            encode,
            views=1,
            batch_size=count,
        )
        return (time.monotonic() - begun) / len(items)

    seconds(1)  # warms up
    return seconds(ENCODED)


class SharedFeatures:
    """Frozen features that the runs of a grid share, and how many of each set the cache lacks.

    Args:
        backbone: backbone of all runs.

    Attributes:
        missing: number of features that the cache lacks and no earlier set has, by set.
        precision: precision in which OpenVINO encodes a set, or None for PyTorch, by set.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.missing: dict[str, int] = {}
        self.precision: dict[str, str | None] = {}
        self._backbone = backbone
        self._cached: dict[str, set[bytes]] = {}
        self._counted: dict[str, set[bytes]] = {}

    def needed(self, task: Task, *, adapts_images: bool) -> list[str]:
        """Return the sets of features that a run reads.

        Args:
            task: the run.
            adapts_images: whether the method changes the image tower, so that it reads images instead.

        Raises:
            ImageError: an image cannot be read.
        """
        backbone, config, shots = task.backbone, task.config, task.shots
        fixed = evaluation_images(backbone, shots.train, shots.root, config)
        sets = [self._count(fixed, 1, shots.learned.content_hash)]
        if not adapts_images:
            views = augmented_images(backbone, shots.train, shots.root, config)
            data, epochs = config.data, config.optim.epochs
            sets.append(self._count(views, data.views, shots.learned.content_hash, epochs, data.view_precision))
            for dataset in (task.dataset, *task.targets.values()):
                tested = replace(dataset, train=(), val=())
                images = evaluation_images(backbone, tested.test, tested.root, config)
                sets.append(self._count(images, 1, tested.split_hash()))
        return sets

    def _count(
        self,
        images: ImageSet,
        views: int,
        content_hash: str,
        epochs: int | None = None,
        precision: str | None = None,
    ) -> str:
        name = f"{content_hash} {images.transform} {images.seed} {views} {epochs} {precision}"
        if name not in self.missing:
            key = encoder_key(self._backbone, precision)
            found = features_to_encode(images, views=views, key=key, known=self._cached, epochs=epochs)
            counted = self._counted.setdefault(f"{key} {images.transform}", set())
            self.missing[name], self.precision[name] = len(found - counted), precision
            counted |= found
        return name
