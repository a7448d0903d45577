"""Batches: their order, and where their samples come from."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.data.dataset import Item
from vlprompt.data.features import FeatureSet
from vlprompt.data.image_set import EpochDataset, ImageSet
from vlprompt.data.sampling import image_rng
from vlprompt.training import batches
from vlprompt.training.batches import batch_order, load_batches

CPU = torch.device("cpu")


@given(count=st.integers(1, 200), size=st.integers(1, 64), seed=st.integers(0, 2**62))
def test_batches_have_equal_size_and_distinct_images(count: int, size: int, seed: int) -> None:
    order = batch_order(count, size, seed)
    seen = [index for batch in order for index in batch]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(count))
    assert {len(batch) for batch in order} == {min(size, count)}
    assert count - len(seen) < min(size, count)
    assert order == batch_order(count, size, seed)


def draw_number(image: Image.Image, rng: random.Random) -> Tensor:
    return torch.tensor(rng.random(), dtype=torch.float64)


def images(root: Path) -> ImageSet:
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"{number}.png")
    return ImageSet([Item(f"{number}.png", number % 2) for number in range(6)], root, draw_number, seed=3)


def features(root: Path) -> FeatureSet:
    return FeatureSet(torch.arange(24.0).view(6, 4, 1), torch.arange(6) % 2, seed=3)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [images, features])
def test_batches_are_the_samples_of_their_epoch(make: Any, workers: int, tmp_path: Path) -> None:
    train_set: EpochDataset = make(tmp_path)
    orders = [(epoch, batch_order(6, 2, epoch)) for epoch in (4, 5)]
    loaded = list(load_batches(train_set, orders, CPU, workers=workers))
    expected = [(epoch, batch) for epoch, order in orders for batch in order]
    for (inputs, labels, index), (epoch, batch) in zip(loaded, expected, strict=True):
        assert index.tolist() == batch
        assert labels.tolist() == [number % 2 for number in batch]
        assert torch.equal(inputs, torch.stack([torch.as_tensor(train_set.sample(epoch, i)[0]) for i in batch]))


@pytest.mark.parametrize("make", [images, features])
def test_batches_leave_the_random_state_alone(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for _ in load_batches(make(tmp_path), [(0, batch_order(6, 2, 0))], CPU):
        assert torch.equal(torch.get_rng_state(), before)


def test_one_loader_serves_all_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def loader(*args: Any, **words: Any) -> Any:
        made.append(args)
        return DataLoader(*args, **words)

    monkeypatch.setattr(batches, "DataLoader", loader)
    loaded = list(load_batches(images(tmp_path), [(epoch, batch_order(6, 2, epoch)) for epoch in range(5)], CPU))
    assert len(made) == 1 and len(loaded) == 15


def test_numbers_of_an_epoch_do_not_depend_on_earlier_ones(tmp_path: Path) -> None:
    ((inputs, _, index),) = load_batches(images(tmp_path), [(7, [[5, 0]])], CPU)
    assert inputs.tolist() == [image_rng(3, 7, number).random() for number in index.tolist()]
