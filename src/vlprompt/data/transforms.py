"""CLIP's image transforms: PIL image in, normalized float tensor (3, S, S) out.

torchvision crops, resizes and normalizes. Random parameters are drawn here, from a `random.Random` of the caller:
torchvision uses torch's global random state, which depends on every earlier draw.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from vlprompt.data.images import full_size

Transform = Callable[[Image.Image, random.Random], Tensor]
Triple = tuple[float, float, float]
Box = tuple[int, int, int, int]  # left, top, right, bottom

RATIO = (3 / 4, 4 / 3)
TRIES = 10
# Longer images are cropped to this aspect ratio first: resizing a very thin one would create a huge image.
THIN = 16
# A photograph is decoded at twice the length that it is resized to, at least; bicubic resizing does the rest.
OVERSAMPLING = 2
# A large part of it is averaged to three times the length in the tensor, at least, before it is resized.
REDUCING_GAP = 3.0


@dataclass(frozen=True)
class FixedTransform:
    """Evaluation transform, created by `eval_transform`."""

    size: int
    mean: Triple
    std: Triple
    interpolation: str
    squash: bool

    @property
    def side(self) -> int:
        """Length in pixels that both sides of an image need: twice that of the tensor."""
        return OVERSAMPLING * self.size

    def __call__(self, image: Image.Image, rng: random.Random | None = None) -> Tensor:
        """Return the normalized tensor (3, S, S) of an RGB image; `rng` is not used."""
        width, height = full_size(image)
        if self.squash:
            image = _cut(image, (0, 0, width, height), (self.size, self.size), self.interpolation)
        else:
            across, down = min(width, THIN * height), min(height, THIN * width)
            left, top = round((width - across) / 2), round((height - down) / 2)
            short = min(across, down)
            resized = self.size * across // short, self.size * down // short
            image = _cut(image, (left, top, left + across, top + down), resized, self.interpolation)
            image = F.center_crop(image, [self.size, self.size])
        return _to_tensor(image, self.mean, self.std)


@dataclass(frozen=True)
class RandomTransform:
    """Random training transform, created by `train_transform`."""

    size: int
    mean: Triple
    std: Triple
    interpolation: str
    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip: bool = True

    @property
    def side(self) -> int:
        """Length in pixels that both sides of an image need, so that no crop is smaller than the tensor."""
        return math.ceil(self.size / math.sqrt(self.crop_scale[0] * RATIO[0]))

    def __call__(self, image: Image.Image, rng: random.Random) -> Tensor:
        """Return the normalized tensor (3, S, S) of a random view of an RGB image, drawn from `rng`."""
        box = _random_box(*full_size(image), self.crop_scale, rng)
        image = _cut(image, box, (self.size, self.size), self.interpolation)
        if self.flip and rng.random() < 0.5:
            image = F.hflip(image)
        return _to_tensor(image, self.mean, self.std)


def eval_transform(
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    interpolation: str = "bicubic",
    squash: bool = False,
) -> FixedTransform:
    """Return CLIP's evaluation transform: shorter side to `image_size`, center crop, normalize.

    Call it as `transform(image)`; it also accepts a random state, which is not used.

    Args:
        image_size: S, side of the tensor (3, S, S).
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel.
        interpolation: "bicubic", "bilinear" or "nearest".
        squash: resize both sides to `image_size` instead of cropping, as SigLIP does.

    Examples:
        >>> transform = eval_transform(224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tuple(transform(Image.new("RGB", (640, 480))).shape)
        (3, 224, 224)
    """
    return FixedTransform(image_size, _triple(mean), _triple(std), interpolation, squash)


def train_transform(
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    interpolation: str = "bicubic",
) -> RandomTransform:
    """Return CoOp's training transform: random resized crop, horizontal flip with probability 1/2, normalize.

    Call it as `transform(image, rng)`; all randomness comes from `rng`. Crops have an aspect ratio of 3/4 to 4/3.

    Args:
        image_size: S, side of the tensor (3, S, S).
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel.
        interpolation: "bicubic", "bilinear" or "nearest".

    Examples:
        >>> transform = train_transform(224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tuple(transform(Image.new("RGB", (640, 480)), random.Random(0)).shape)
        (3, 224, 224)
    """
    return RandomTransform(image_size, _triple(mean), _triple(std), interpolation)


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue


def _random_box(width: int, height: int, scale: tuple[float, float], rng: random.Random) -> Box:
    """Draw a crop (left, top, right, bottom), distributed as in torchvision's RandomResizedCrop."""
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left, top = rng.randint(0, width - crop_width), rng.randint(0, height - crop_height)
            return left, top, left + crop_width, top + crop_height
    # No crop fits: use the largest central one of a ratio within bounds.
    crop_width = min(width, round(height * RATIO[1]))
    crop_height = min(height, round(width / RATIO[0]))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def _cut(image: Image.Image, box: Box, size: tuple[int, int], interpolation: str) -> Image.Image:
    """Return a part (left, top, right, bottom) of an image in (width, height).

    The box is one of the whole image, so that an image that was decoded smaller shows the same part.
    """
    reduction = round(max(full_size(image)) / max(image.size))  # a power of 2; decoded sizes are rounded up
    if reduction > 1:
        left, top, right, bottom = (side / reduction for side in box)
        mode = Image.Resampling[interpolation.upper()]
        return image.resize(size, mode, (left, top, right, bottom), reducing_gap=REDUCING_GAP)
    left, top, right, bottom = box
    mode = F.InterpolationMode(interpolation)
    cut: Image.Image = F.resized_crop(image, top, left, bottom - top, right - left, list(size[::-1]), mode)
    return cut


def _to_tensor(image: Image.Image, mean: Triple, std: Triple) -> Tensor:
    tensor: Tensor = F.normalize(F.to_tensor(image), list(mean), list(std), inplace=True)  # (3, S, S)
    return tensor
