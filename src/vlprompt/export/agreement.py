"""Agreement of an exported model with PyTorch, measured on real images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.classifier.image_inputs import find_images
from vlprompt.data.loading import load_dataset
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.task import load_pool
from vlprompt.runtimes.exported_model import ExportedModel
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import one_line

T = TypeVar("T")

BATCH = 16
# Minimum share of images with PyTorch's class in a precision other than fp32.
SAME = 0.95
# Rounding alone gives 1e-5; a wrong graph exceeds this.
EXACT = 1e-3


@dataclass(frozen=True)
class Agreement:
    """Differences between an exported model and PyTorch in fp32.

    Attributes:
        images: number of images compared.
        of: origin of the images.
        same_label: number of images with the same most likely class.
        probability: largest absolute difference of a probability; NaN if a probability is not finite.
        logit: largest absolute difference of a logit.
        largest_logit: largest magnitude of PyTorch's logits.
    """

    images: int
    of: str
    same_label: int
    probability: float
    logit: float
    largest_logit: float

    @property
    def exact(self) -> bool:
        """Whether all differences are within rounding."""
        return self.probability <= EXACT and self.logit <= EXACT * max(1.0, self.largest_logit)

    @property
    def close(self) -> bool:
        """Whether at least 95% of the images have the same class."""
        return self.same_label >= SAME * self.images

    def __str__(self) -> str:
        return (
            f"top-1 agrees with PyTorch on {self.same_label} of {self.images} images ({self.of}); largest "
            f"difference: {self.probability:.2g} of a probability, {self.logit:.2g} of a logit"
        )


class Reference:
    """Images to compare an exported model on, and PyTorch's predictions of them.

    Args:
        classifier: classifier to compare with, in fp32 on the CPU.
        images: files, folders or patterns; default: the run's test images or, if they are not on this machine, the
            icons of the `pictures` extra.
        count: maximum number of images, evenly spaced, so that they cover all classes.
        reporter: where to show progress.

    Raises:
        VLPromptError: an image cannot be read, or no images are found.
    """

    def __init__(self, classifier: Classifier, images: Sequence[str], count: int, reporter: Reporter) -> None:
        self._reporter = reporter
        self._of, pixels = _pixels(classifier, images, count)
        # The first image is a separate batch, so that two batch sizes are tested.
        self._batches = [batch for batch in (pixels[:1], *pixels[1:].split(BATCH)) if len(batch)]
        logits, self._seconds = self._timed("predicting with PyTorch", classifier.logits)
        self._logits = torch.cat(logits).numpy()

    def compare(self, model: ExportedModel, name: str) -> tuple[Agreement, float]:
        """Return the agreement of a model with PyTorch, and its speed relative to PyTorch's.

        Args:
            model: model that gives logits and probabilities.
            name: what to call it in the progress bar.

        Raises:
            VLPromptError: the model cannot be run.
        """
        try:
            model(self._batches[0].numpy())  # memory is taken at the first image
            outputs, seconds = self._timed(f"predicting with {name}", lambda batch: model(batch.numpy()))
        except Exception as error:  # the errors of both runtimes share no base class
            raise VLPromptError(f"the exported model cannot be run: {one_line(error)}") from error
        logits, probabilities = (np.concatenate(part) for part in zip(*outputs, strict=True))
        expected = self._logits
        finite = np.isfinite(expected)  # in a linear probe, classes without training images have -inf
        agreement = Agreement(
            images=len(expected),
            of=self._of,
            same_label=int((logits.argmax(-1) == expected.argmax(-1)).sum()),
            probability=_largest(probabilities - torch.from_numpy(expected).softmax(-1).numpy()),
            logit=_largest(logits[finite] - expected[finite]),
            largest_logit=_largest(expected[finite]),
        )
        return agreement, self._seconds / seconds

    def _timed(self, title: str, predict: Callable[[Tensor], T]) -> tuple[list[T], float]:
        """Return the results for all batches, and the seconds they took."""
        results, begun = [], time.perf_counter()
        with self._reporter.bar(title) as bar:
            for done, batch in enumerate(self._batches, start=1):
                results.append(predict(batch))
                bar(done, len(self._batches))
        return results, time.perf_counter() - begun


def _pixels(classifier: Classifier, images: Sequence[str], count: int) -> tuple[str, Tensor]:
    """Return the origin of the images to compare on, and their pixels (N, 3, S, S)."""

    def read(paths: Sequence[str]) -> Tensor:
        return torch.stack([classifier.pixels(paths[place]) for place in spaced(len(paths), count)])

    if images:
        return "the given ones", read(find_images(images))
    own, icons = partial(load_pool, classifier.record.config.data), partial(load_dataset, "openmoji")
    tried = []
    # A saved run does not record the path of its data; another dataset may have the same name here.
    for load in (own, icons) if classifier.record.has_data else (icons,):
        try:
            dataset = load()
            return dataset.name, read([str(dataset.root / item.path) for item in dataset.test or dataset.train])
        except VLPromptError as error:
            tried.append(str(error))
    raise VLPromptError(f"no images to compare the exported model on ({tried[0]}); pass some as `images`")


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())
