"""Datasets whose samples change from epoch to epoch, and never otherwise."""

import random

import torch
from torch import Tensor

from vlprompt.data.sampling import image_rng


class EpochDataset(torch.utils.data.Dataset[tuple[Tensor, int, int]]):
    """A dataset of (tensor, label, index) whose randomness depends on (seed, epoch, index) only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared memory, so that a loader's persistent workers see the epoch change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch that is served."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Serve this epoch from now on, in worker processes too."""
        self._epoch.fill_(epoch)

    def rng(self, index: int) -> random.Random:
        """The random state of one sample in the current epoch."""
        return image_rng(self.seed, self.epoch, index)
