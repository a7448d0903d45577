"""Whether an exported model says what PyTorch says, on real pictures."""

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
from vlprompt.classifier.image_inputs import find_images
from vlprompt.data.loading import load_dataset
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.task import load_pool
from vlprompt.export.graph import LOGITS, PIXELS, PROBABILITIES

PICTURES = 64
BATCH = 16
# Rounding gives 1e-5; a wrong graph gives more than this.
EXACT = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How far an exported model and PyTorch in fp32 are apart.

    Attributes:
        pictures: how many were compared.
        of: where they are from.
        same_label: on how many both name the same class first.
        probability: largest absolute difference of a probability; NaN where one is no number.
        logit: largest absolute difference of a logit.
        largest_logit: by magnitude, of PyTorch's.
    """

    pictures: int
    of: str
    same_label: int
    probability: float
    logit: float
    largest_logit: float

    @property
    def exact(self) -> bool:
        """Whether the two differ by rounding only."""
        return self.probability <= EXACT and self.logit <= EXACT * max(1.0, self.largest_logit)

    def __str__(self) -> str:
        return (
            f"top-1 agrees with PyTorch on {self.same_label} of {self.pictures} pictures ({self.of}); largest "
            f"difference: {self.probability:.2g} of a probability, {self.logit:.2g} of a logit"
        )


def check_pixels(classifier: Classifier, images: Sequence[str]) -> tuple[str, Tensor]:
    """Pictures to compare on, as pixels (N, 3, S, S), and where they are from.

    Args:
        classifier: whose pictures they are.
        images: files, folders or patterns; none for the run's own test images or, if they are not here, the pictures
            that come with the `pictures` extra.

    Raises:
        VLPromptError: one that is given cannot be read, or none are given and there are no others.
    """
    if images:
        paths = find_images(images)
        return "given with --images", _pixels(classifier, paths)
    own, icons = partial(load_pool, classifier.record.config.data), partial(load_dataset, "openmoji")
    tried = []
    # A saved run names its data no longer; what has that name here may be anything.
    for load in (own, icons) if classifier.record.has_data else (icons,):
        try:
            dataset = load()
            paths = [str(dataset.root / item.path) for item in dataset.test or dataset.train]
            return dataset.name, _pixels(classifier, paths)
        except VLPromptError as error:
            tried.append(str(error))
    raise VLPromptError(f"there are no pictures to check the export on ({tried[0]}); give some with --images FOLDER")


def _pixels(classifier: Classifier, paths: Sequence[str]) -> Tensor:
    """Pixels of at most `PICTURES` of the paths, at equal distances, so that all classes are among them."""
    return torch.stack([classifier.pixels(paths[place]) for place in spaced(len(paths), PICTURES)])


def compare(file: Path, pixels: Tensor, expected: NDArray[np.float32], of: str) -> Agreement:
    """Run an exported model in onnxruntime, and say how far it is from what was expected.

    The first picture goes alone, so that more than one size of a batch is tried.

    Raises:
        VLPromptError: onnxruntime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        batches = [pixels[:1], *pixels[1:].split(BATCH)]
        outputs = [session.run([LOGITS, PROBABILITIES], {PIXELS: batch.numpy()}) for batch in batches if len(batch)]
    except Exception as error:  # onnxruntime's own errors share no base class
        raise VLPromptError(f"onnxruntime cannot run the exported model: {' '.join(str(error).split())}") from error
    logits, probabilities = (np.concatenate(part) for part in zip(*outputs, strict=True))
    finite = np.isfinite(expected)  # a class that a linear probe has never seen has minus infinity
    return Agreement(
        pictures=len(pixels),
        of=of,
        same_label=int((logits.argmax(-1) == expected.argmax(-1)).sum()),
        probability=_largest(probabilities - torch.from_numpy(expected).softmax(-1).numpy()),
        logit=_largest(logits[finite] - expected[finite]),
        largest_logit=_largest(expected[finite]),
    )


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())
