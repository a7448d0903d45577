"""Reading photographs of 12 megapixels for training: decoded whole for every view, or small and once."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from vlprompt.data.images import read_image
from vlprompt.data.transforms import train_transform

SIZES = (64, 224)  # of the embedded model, and of most CLIP models
VIEWS = 16
WIDTH, HEIGHT = 4000, 3000


@dataclass(frozen=True)
class Reading:
    """CPU seconds of one thread for an image, at one size of the model's input, and how far views differ.

    Attributes:
        size: side of the input.
        whole: decode the whole image and cut a view.
        small: decode the image at the size that is needed.
        view: cut a view of the small image in memory.
        apart, most: mean and largest difference of a view's values from the whole image's, of 255.
    """

    size: int
    whole: float
    small: float
    view: float
    apart: float
    most: float

    @property
    def later_epochs(self) -> float:
        """Ratio of an epoch that decodes the whole image to one that cuts a view from memory."""
        return self.whole / self.view

    @property
    def several_views(self) -> float:
        """The same ratio for `VIEWS` views that are encoded before training."""
        return VIEWS * self.whole / (self.small + VIEWS * self.view)


def measure(size: int, *, width: int = WIDTH, height: int = HEIGHT, repeats: int = 5) -> Reading:
    """Measure one size on a JPEG of smooth colors and noise, as photographs have."""
    transform = train_transform(size, (0, 0, 0), (1, 1, 1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        _photograph(width, height).save(path, quality=90)
        whole = _seconds(lambda: transform(read_image(path, side=max(width, height)), random.Random(0)), repeats)
        small = _seconds(lambda: read_image(path, side=transform.side), repeats)
        kept, full = read_image(path, side=transform.side), read_image(path, side=max(width, height))
    view = _seconds(lambda: transform(kept, random.Random(0)), 10 * repeats)
    apart = [
        255 * (transform(kept, random.Random(seed)) - transform(full, random.Random(seed))).abs() for seed in range(20)
    ]
    mean, most = (sum(x.mean().item() for x in apart) / len(apart), max(x.max().item() for x in apart))
    return Reading(size, whole, small, view, mean, most)


def _photograph(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 200, (60, 80, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.integers(0, 24, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(smooth) + grain)


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.thread_time()
        work()
        times.append(time.thread_time() - begun)
    return median(times)
