"""Images on disk as a torch dataset whose augmentations can be repeated."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vlprompt.data.dataset import Item
from vlprompt.data.epochs import EpochDataset
from vlprompt.data.images import read_image
from vlprompt.data.transforms import Transform


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
