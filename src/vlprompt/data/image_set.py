"""Images on disk as a torch dataset whose augmentations can be repeated."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vlprompt.data.dataset import Item
from vlprompt.data.images import read_image
from vlprompt.data.sampling import image_rng
from vlprompt.data.transforms import Transform


class EpochDataset(torch.utils.data.Dataset[tuple[Tensor, int, int]]):
    """A torch dataset of (tensor, label, index) whose randomness depends on (seed, epoch, index) only.

    Args:
        seed: of the randomness.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared memory, so that a loader's persistent workers see the epoch change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose samples are served."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Serve this epoch from now on, in worker processes too."""
        self._epoch.fill_(epoch)

    def rng(self, index: int) -> random.Random:
        """Return the random state of one sample in the current epoch."""
        return image_rng(self.seed, self.epoch, index)


class ImageSet(EpochDataset):
    """Items of a dataset as (image (3, S, S), label, index).

    The transform's randomness depends on (seed, epoch, index) only: not on workers, batches, or what ran before.

    Args:
        items: the images, in the order of the indices.
        root: the folder that their paths are relative to.
        transform: called with the RGB image and a `random.Random`.
        seed: of the augmentations.
    """

    def __init__(self, items: Sequence[Item], root: Path, transform: Transform, seed: int = 0) -> None:
        super().__init__(seed)
        self.items = tuple(items)
        self.root = Path(root)
        self.transform = transform

    @property
    def labels(self) -> Tensor:
        """Labels of all items, (N,) int64."""
        return torch.tensor([item.label for item in self.items], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        item = self.items[index]
        image = read_image(self.root / item.path)
        return self.transform(image, self.rng(index)), item.label, index
