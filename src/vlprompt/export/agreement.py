"""Agreement of an exported model with PyTorch, measured on real images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.classifier.exported_tower import LOGITS, PIXELS, PROBABILITIES
from vlprompt.classifier.image_inputs import find_images
from vlprompt.data.loading import load_dataset
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.task import load_pool
from vlprompt.utils.strings import one_line

IMAGES = 64
BATCH = 16
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

    def __str__(self) -> str:
        return (
            f"top-1 agrees with PyTorch on {self.same_label} of {self.images} images ({self.of}); largest "
            f"difference: {self.probability:.2g} of a probability, {self.logit:.2g} of a logit"
        )


def check_pixels(classifier: Classifier, images: Sequence[str]) -> tuple[str, Tensor]:
    """Return the origin of the images to compare on, and their pixels (N, 3, S, S).

    Args:
        classifier: classifier to compare.
        images: files, folders or patterns; default: the run's test images or, if they are not on this machine, the
            icons of the `pictures` extra.

    Raises:
        VLPromptError: an image cannot be read, or no images are found.
    """
    if images:
        paths = find_images(images)
        return "the given ones", _pixels(classifier, paths)
    own, icons = partial(load_pool, classifier.record.config.data), partial(load_dataset, "openmoji")
    tried = []
    # A saved run does not record the path of its data; another dataset may have the same name here.
    for load in (own, icons) if classifier.record.has_data else (icons,):
        try:
            dataset = load()
            paths = [str(dataset.root / item.path) for item in dataset.test or dataset.train]
            return dataset.name, _pixels(classifier, paths)
        except VLPromptError as error:
            tried.append(str(error))
    raise VLPromptError(f"no images to compare the exported model on ({tried[0]}); pass some as `images`")


def _pixels(classifier: Classifier, paths: Sequence[str]) -> Tensor:
    """Return the pixels of at most `IMAGES` of the paths, evenly spaced, so that they cover all classes."""
    return torch.stack([classifier.pixels(paths[place]) for place in spaced(len(paths), IMAGES)])


def compare(file: Path, pixels: Tensor, expected: NDArray[np.float32], of: str) -> tuple[Agreement, float]:
    """Run an exported model in onnxruntime and compare it with the expected logits; return the seconds, too.

    The first image is a separate batch, so that two batch sizes are tested.

    Args:
        file: .onnx file.
        pixels: preprocessed images, tensor with shape (N, 3, S, S).
        expected: PyTorch's logits, array with shape (N, C).
        of: origin of the images.

    Raises:
        VLPromptError: onnxruntime cannot run the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        options.intra_op_num_threads = torch.get_num_threads()  # as PyTorch has
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        batches = [pixels[:1], *pixels[1:].split(BATCH)]
        session.run([LOGITS], {PIXELS: pixels[:1].numpy()})  # takes memory at the first image
        begun = time.perf_counter()
        outputs = [session.run([LOGITS, PROBABILITIES], {PIXELS: batch.numpy()}) for batch in batches if len(batch)]
        seconds = time.perf_counter() - begun
    except Exception as error:  # onnxruntime's own errors share no base class
        raise VLPromptError(f"onnxruntime cannot run the exported model: {one_line(error)}") from error
    logits, probabilities = (np.concatenate(part) for part in zip(*outputs, strict=True))
    finite = np.isfinite(expected)  # in a linear probe, classes without training images have -inf
    agreement = Agreement(
        images=len(pixels),
        of=of,
        same_label=int((logits.argmax(-1) == expected.argmax(-1)).sum()),
        probability=_largest(probabilities - torch.from_numpy(expected).softmax(-1).numpy()),
        logit=_largest(logits[finite] - expected[finite]),
        largest_logit=_largest(expected[finite]),
    )
    return agreement, seconds


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())
