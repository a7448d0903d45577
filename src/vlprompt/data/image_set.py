"""Images on disk as a torch dataset with reproducible augmentations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from vlprompt.data.dataset import Item
from vlprompt.data.images import DRAFT_SIDE, read_image
from vlprompt.data.sampling import image_rng
from vlprompt.data.transforms import Transform
from vlprompt.data.value_ranges import ValueRange

Progress = Callable[[int, int], None]
AHEAD = 32  # images that threads read before the first of them is kept


class EpochDataset(torch.utils.data.Dataset[tuple[Tensor, int, int]], ABC):
    """Torch dataset of (tensor, label, index), whose samples differ between epochs; items are those of epoch 0.

    Args:
        seed: seed of all random states.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples of an epoch."""

    @abstractmethod
    def sample(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        """Return a sample, which depends only on (seed, epoch, index)."""

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.sample(0, index)


class ImageSet(EpochDataset):
    """Items of a dataset as (image (3, S, S), label, index).

    The randomness of the transform depends only on (seed, epoch, index), not on workers, batches or earlier samples.

    Args:
        items: images and labels, in index order.
        root: folder that their paths are relative to.
        transform: called with an RGB image and a `random.Random`; returns a tensor (3, S, S).
        seed: seed of the augmentations.
        value_range: see `read_image`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        root: Path,
        transform: Transform,
        seed: int = 0,
        *,
        value_range: ValueRange | None = None,
    ) -> None:
        super().__init__(seed)
        self.items = tuple(items)
        self.root = Path(root)
        self.transform = transform
        self.value_range = value_range
        self._kept: dict[int, Image] = {}

    @property
    def labels(self) -> Tensor:
        """Labels of all items, int64 tensor with shape (N,)."""
        return torch.tensor([item.label for item in self.items], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        """Return (image (3, S, S), label, index), transformed at random for the epoch."""
        rng = image_rng(self.seed, epoch, index)
        return self.transform(self.read(index), rng), self.items[index].label, index

    @property
    def kept(self) -> int:
        """Number of images in memory."""
        return len(self._kept)

    def keep(self, budget: int, *, progress: Progress = lambda done, total: None, threads: int = 1) -> int:
        """Read images into memory, in order, until the next one does not fit; samples stay the same.

        Args:
            budget: bytes that they may take.
            progress: called with (images read, total images) after each image.
            threads: threads that read them.

        Returns:
            bytes that an image takes that did not fit, or 0.

        Raises:
            ImageError: an image cannot be read.
        """
        self._kept.clear()
        pool = ThreadPoolExecutor(threads)
        try:
            for begin in range(0, len(self), AHEAD):
                indices = range(begin, min(begin + AHEAD, len(self)))
                for index, image in zip(indices, pool.map(self.read, indices), strict=True):
                    size = 3 * image.width * image.height
                    budget -= size
                    if budget < 0:
                        return size
                    self._kept[index] = image
                    progress(index + 1, len(self))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for images that no thread has begun with
        return 0

    def read(self, index: int) -> Image:
        """Return an image in RGB, before its transform; its size is the smallest that the transform needs."""
        if index in self._kept:
            return self._kept[index]
        side = getattr(self.transform, "side", DRAFT_SIDE)
        return read_image(self.root / self.items[index].path, value_range=self.value_range, side=side)
