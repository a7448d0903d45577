"""Batches of a training set, in a reproducible order, for all epochs of a training."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlprompt.data.features import FeatureSet
from vlprompt.data.image_set import EpochDataset

Order = list[list[int]]  # indices of each batch of an epoch


def batch_order(count: int, batch_size: int, seed: int) -> Order:
    """Shuffle `count` images into batches; a smaller last batch is dropped, unless it is the only one."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    size = min(batch_size, count)
    return [order[begin : begin + size] for begin in range(0, count - size + 1, size)]


def load_batches(
    train_set: EpochDataset, orders: Iterable[tuple[int, Order]], device: torch.device, *, workers: int = 0
) -> Iterator[list[Tensor]]:
    """Yield (inputs, labels, index) of the batches of all epochs, on a device.

    Features are moved to the device as a whole. Images are read by one loader for all epochs, so that its processes
    start once and go on reading while an epoch ends.

    Args:
        train_set: features or images.
        orders: numbers of epochs, counted from 0, and the batches of each; all batches have one size.
        device: device of the tensors.
        workers: processes that read images; 0 reads them in this process.
    """
    if isinstance(train_set, FeatureSet):
        yield from _feature_batches(train_set, orders, device)
        return
    loader = DataLoader(
        _Samples(train_set),
        batch_sampler=([(epoch, index) for index in batch] for epoch, order in orders for batch in order),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or it would draw from the state that methods draw from
    )
    for batch in loader:
        yield [part.to(device, non_blocking=True) for part in batch]


class _Samples(Dataset[tuple[Tensor, int, int]]):
    """Samples of all epochs, by (epoch, index)."""

    def __init__(self, train_set: EpochDataset) -> None:
        self._train_set = train_set

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, int, int]:
        return self._train_set.sample(*place)


def _feature_batches(
    feature_set: FeatureSet, orders: Iterable[tuple[int, Order]], device: torch.device
) -> Iterator[list[Tensor]]:
    features, labels = feature_set.features.to(device), feature_set.labels.to(device)
    for epoch, order in orders:
        # Moved to the device once for an epoch, so that no step waits for it.
        views = torch.tensor([[feature_set.view(epoch, index) for index in batch] for batch in order], device=device)
        for index, view in zip(torch.tensor(order, device=device), views, strict=True):
            yield [features[index, view], labels[index], index]
