"""Images on disk as a torch dataset with reproducible augmentations."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from vlprompt.data.dataset import Item
from vlprompt.data.images import DRAFT_SIDE, read_image
from vlprompt.data.sampling import image_rng
from vlprompt.data.transforms import Transform
from vlprompt.data.value_ranges import ValueRange


class EpochDataset(torch.utils.data.Dataset[tuple[Tensor, int, int]]):
    """Torch dataset of (tensor, label, index) whose randomness depends only on (seed, epoch, index).

    Args:
        seed: seed of all random states.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared memory, so that a loader's persistent workers see the epoch change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch, also for running worker processes."""
        self._epoch.fill_(epoch)

    def rng(self, index: int) -> random.Random:
        """Return the random state of one sample in the current epoch."""
        return image_rng(self.seed, self.epoch, index)


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

    @property
    def labels(self) -> Tensor:
        """Labels of all items, int64 tensor with shape (N,)."""
        return torch.tensor([item.label for item in self.items], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(self.read(index), self.rng(index)), self.items[index].label, index

    def read(self, index: int) -> Image:
        """Return an image in RGB, before its transform."""
        side = getattr(self.transform, "side", DRAFT_SIDE)
        return read_image(self.root / self.items[index].path, value_range=self.value_range, side=side)
