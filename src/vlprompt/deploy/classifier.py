"""A tuned classifier: images in, class names and probabilities out."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlprompt.data import read_image
from vlprompt.methods import Method
from vlprompt.training.restore import restore


@dataclass(frozen=True)
class Guess:
    """The answer to one image: the likeliest class, its probability, and the probabilities of all classes."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Classifier:
    """A method with its prompts, ready for images; the classes are encoded once."""

    def __init__(self, method: Method[Any]) -> None:
        self.method = method.eval()
        with torch.no_grad():
            self._text_features: Tensor | None = method.class_features()

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names as words, in the order of the labels."""
        return self.method.class_names

    @torch.no_grad()
    def predict(self, image: str | Path | Image.Image) -> Guess:
        """Classify one image, given as a path or as a PIL image. VLPromptError if it cannot be read."""
        picture = image.convert("RGB") if isinstance(image, Image.Image) else read_image(Path(image))
        backbone = self.method.backbone
        pixels = backbone.test_transform(picture, random.Random(0))[None].to(backbone.device)  # (1, 3, S, S)
        probabilities = self.method(pixels, self._text_features).logits[0].softmax(-1).tolist()
        by_name = sorted(zip(self.class_names, probabilities, strict=True), key=lambda pair: -pair[1])
        label, probability = by_name[0]
        return Guess(label, probability, dict(by_name))


def load(run: str | Path, *, device: str = "auto") -> Classifier:
    """The classifier that a run's folder holds. VLPromptError if there is none, or its weights have changed."""
    return Classifier(restore(run, device=device)[1])
