"""CLIP's image transforms: PIL image in, normalized float tensor (3, S, S) out."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Transform = Callable[[Image.Image, random.Random], Tensor]
Triple = tuple[float, float, float]

RATIO = (3 / 4, 4 / 3)
TRIES = 10
# Longer images are cut to this ratio first: resizing a thread of pixels would make a huge image that the crop drops.
THIN = 16


@dataclass(frozen=True)
class FixedTransform:
    """What `eval_transform` makes."""

    size: int
    mean: Triple
    std: Triple
    interpolation: str
    squash: bool

    def __call__(self, image: Image.Image, rng: random.Random | None = None) -> Tensor:
        """The normalized tensor (3, S, S) of an RGB image; `rng` is not used."""
        if self.squash:
            return _to_tensor(_resized(image, self.size, self.size, self.interpolation), self.mean, self.std)
        image = _central(image, THIN * min(image.size), THIN * min(image.size))
        width, height = (int(self.size * length / min(image.size)) for length in image.size)
        image = _central(_resized(image, width, height, self.interpolation), self.size, self.size)
        return _to_tensor(image, self.mean, self.std)


@dataclass(frozen=True)
class RandomTransform:
    """What `train_transform` makes."""

    size: int
    mean: Triple
    std: Triple
    interpolation: str
    crop_scale: tuple[float, float]
    flip: bool

    def __call__(self, image: Image.Image, rng: random.Random) -> Tensor:
        """The normalized tensor (3, S, S) of a random view of an RGB image, drawn from `rng`."""
        image = image.crop(_random_box(image.width, image.height, self.crop_scale, rng))
        image = _resized(image, self.size, self.size, self.interpolation)
        if self.flip and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _to_tensor(image, self.mean, self.std)


def eval_transform(
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    interpolation: str = "bicubic",
    squash: bool = False,
) -> FixedTransform:
    """CLIP's evaluation transform: shorter side to `image_size`, center crop, normalize.

    Called as `t(image)` or `t(image, rng)`; the random state is not used. `mean` and `std` are per channel, for
    values in [0, 1]. `squash` resizes both sides instead, as SigLIP's does.
    """
    return FixedTransform(image_size, _triple(mean), _triple(std), interpolation, squash)


def train_transform(
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    crop_scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
    *,
    interpolation: str = "bicubic",
) -> RandomTransform:
    """The field's training transform: random resized crop, horizontal flip with probability 1/2, normalize.

    Called as `t(image, rng)`, and all its randomness comes from `rng`. `crop_scale` bounds the crop's share of the
    image's area; its aspect ratio is between 3/4 and 4/3.
    """
    return RandomTransform(image_size, _triple(mean), _triple(std), interpolation, crop_scale, flip)


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue


def _resized(image: Image.Image, width: int, height: int, interpolation: str) -> Image.Image:
    return image.resize((width, height), Image.Resampling[interpolation.upper()])


def _central(image: Image.Image, width: int, height: int) -> Image.Image:
    """The center of an image, cut to at most this width and height."""
    width, height = min(width, image.width), min(height, image.height)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _random_box(width: int, height: int, scale: tuple[float, float], rng: random.Random) -> tuple[int, int, int, int]:
    """A crop of random area and aspect ratio, drawn as torchvision's RandomResizedCrop does."""
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left, top = rng.randint(0, width - crop_width), rng.randint(0, height - crop_height)
            return left, top, left + crop_width, top + crop_height
    # No crop fitted: the largest central one of a ratio within bounds.
    crop_width = min(width, round(height * RATIO[1]))
    crop_height = min(height, round(width / RATIO[0]))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def _to_tensor(image: Image.Image, mean: Triple, std: Triple) -> Tensor:
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255  # (3, S, S)
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
