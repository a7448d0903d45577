"""CLIP's image transforms: PIL image in, normalised float tensor (3, S, S) out."""

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

BICUBIC = Image.Resampling.BICUBIC
RATIO = (3 / 4, 4 / 3)
TRIES = 10
# Longer images are cut to this ratio first: resizing a thread of pixels would make a huge image that the crop drops.
THIN = 16


@dataclass(frozen=True)
class _Test:
    size: int
    mean: Triple
    std: Triple

    def __call__(self, image: Image.Image, rng: random.Random | None = None) -> Tensor:
        image = _central(image, THIN * min(image.size), THIN * min(image.size))
        width, height = (int(self.size * length / min(image.size)) for length in image.size)
        return _to_tensor(_central(image.resize((width, height), BICUBIC), self.size, self.size), self.mean, self.std)


@dataclass(frozen=True)
class _Train:
    size: int
    mean: Triple
    std: Triple
    crop_scale: tuple[float, float]
    flip: bool

    def __call__(self, image: Image.Image, rng: random.Random) -> Tensor:
        image = image.crop(_random_box(image.width, image.height, self.crop_scale, rng))
        image = image.resize((self.size, self.size), BICUBIC)
        if self.flip and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _to_tensor(image, self.mean, self.std)


def test_transform(image_size: int, mean: Sequence[float], std: Sequence[float]) -> Transform:
    """CLIP's evaluation transform: shorter side to `image_size` bicubic, centre crop, normalise.

    Called as `t(image)` or `t(image, rng)`; the random state is not used. `mean` and `std` are per channel, for
    values in [0, 1].
    """
    return _Test(image_size, _triple(mean), _triple(std))


def train_transform(
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    crop_scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
) -> Transform:
    """The field's training transform: random resized crop (bicubic), horizontal flip with probability 1/2, normalise.

    Called as `t(image, rng)`, and all its randomness comes from `rng`. `crop_scale` bounds the crop's share of the
    image's area; its aspect ratio is between 3/4 and 4/3.
    """
    return _Train(image_size, _triple(mean), _triple(std), crop_scale, flip)


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue


def _central(image: Image.Image, width: int, height: int) -> Image.Image:
    """The centre of an image, cut to at most this width and height."""
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
