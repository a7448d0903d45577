import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.data import transforms
from vlprompt.data.dataset import Item
from vlprompt.data.image_set import ImageSet
from vlprompt.data.images import ImageError

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def image_set(tree: Path) -> ImageSet:
    items = [Item(f"{name}/{number}.png", label) for label, name in enumerate(("ant", "oak")) for number in range(4)]
    return ImageSet(items, tree, transforms.train_transform(8, HALF, HALF), seed=3)


def draw_number(image: Image.Image, rng: random.Random) -> Tensor:
    return torch.tensor(rng.random(), dtype=torch.float64)


def test_samples(image_set: ImageSet) -> None:
    image, label, index = image_set[5]
    assert (image.shape, label, index, len(image_set)) == ((3, 8, 8), 1, 5, 8)
    assert image_set.labels.tolist() == [0] * 4 + [1] * 4


def test_randomness_depends_on_seed_epoch_and_index(image_set: ImageSet) -> None:
    def numbers(seed: int, epoch: int) -> list[float]:
        numbered = ImageSet(image_set.items, image_set.root, draw_number, seed)
        return [float(numbered.sample(epoch, index)[0]) for index in reversed(range(8))]

    assert numbers(1, 2) == numbers(1, 2)
    assert len({*numbers(1, 2), *numbers(1, 3), *numbers(2, 2)}) == 24


def test_kept_images_give_the_same_samples_and_are_not_read_again(image_set: ImageSet, tree: Path) -> None:
    before = [image_set.sample(epoch, index)[0] for epoch in range(2) for index in range(8)]
    done: list[tuple[int, int]] = []
    assert image_set.keep(10**6, progress=lambda *counts: done.append(counts), threads=2) == 0
    assert (image_set.kept, done[0], done[-1]) == (8, (1, 8), (8, 8))
    for path in tree.rglob("*.png"):
        path.unlink()
    after = [image_set.sample(epoch, index)[0] for epoch in range(2) for index in range(8)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (359, 0), (360, 1), (3 * 360 + 359, 3)])
def test_images_are_kept_within_a_budget(image_set: ImageSet, budget: int, kept: int) -> None:
    assert image_set.keep(budget) == 3 * 12 * 10
    assert image_set.kept == kept
    assert image_set[7][1] == 1


def test_damaged_file_raises_image_error(image_set: ImageSet, tree: Path) -> None:
    (tree / "ant/0.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"ant/0\.png: the file is empty"):
        image_set[0]
    with pytest.raises(ImageError, match="empty"):
        next(iter(DataLoader(image_set, batch_size=2, num_workers=1)))
