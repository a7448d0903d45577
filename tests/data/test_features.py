import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vlprompt.data import FeatureSet, ImageSet, Item, encode_features, transforms
from vlprompt.files import cache_dir

HALF = (0.5, 0.5, 0.5)


class Encoder:
    """The mean colour, and how many images it was computed for."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return images.mean(dim=(2, 3)).bfloat16()


@pytest.fixture
def image_set(tree: Path) -> ImageSet:
    items = [Item(f"{name}/{number}.png", label) for label, name in enumerate(("ant", "oak")) for number in range(5)]
    return ImageSet(items, tree, transforms.train_transform(8, HALF, HALF), seed=3)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"test-{request.node.name}"


def cache_file(key: str) -> Path:
    return cache_dir() / "features" / f"{key}.safetensors"


def test_each_view_is_the_image_set_in_that_epoch(image_set: ImageSet) -> None:
    image_set.set_epoch(9)
    done: list[tuple[int, int]] = []
    features = encode_features(
        image_set, Encoder(), views=3, batch_size=4, progress=lambda *counts: done.append(counts)
    )
    assert image_set.epoch == 9
    assert features.features.shape == (10, 3, 3)
    assert features.features.dtype == torch.float32
    assert features.labels.tolist() == [0] * 5 + [1] * 5
    assert done[0] == (4, 30) and done[-1] == (30, 30)
    image_set.set_epoch(2)
    assert torch.equal(features.features[7, 2], image_set[7][0].mean(dim=(1, 2)).bfloat16().float())


def test_the_cache_is_read_the_second_time(image_set: ImageSet, key: str) -> None:
    encoder = Encoder()
    first = encode_features(image_set, encoder, views=2, batch_size=4, key=key)
    second = encode_features(image_set, encoder, views=2, batch_size=3, key=key)
    assert encoder.images == 20
    assert torch.equal(first.features, second.features)
    assert load_file(cache_file(key))["features"].shape == (10, 2, 3)


def test_without_a_key_nothing_is_kept(image_set: ImageSet) -> None:
    encoder = Encoder()
    for _ in range(2):
        encode_features(image_set, encoder, views=1, batch_size=4)
    assert encoder.images == 20


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_cache_is_computed_again(
    image_set: ImageSet, key: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode_features(image_set, Encoder(), views=1, batch_size=4, key=key)
    cache_file(key).write_bytes(content)
    encoder = Encoder()
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        again = encode_features(image_set, encoder, views=1, batch_size=4, key=key)
    assert encoder.images == 10
    assert torch.equal(first.features, again.features)
    assert "damaged" in caplog.text
    assert load_file(cache_file(key))["features"].shape == (10, 1, 3)


def test_a_cache_of_another_shape_is_computed_again(
    image_set: ImageSet, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    encode_features(image_set, Encoder(), views=1, batch_size=4, key=key)
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        features = encode_features(image_set, Encoder(), views=2, batch_size=4, key=key)
    assert features.features.shape == (10, 2, 3)
    assert "shape (10, 1, 3)" in caplog.text


def test_a_cache_that_cannot_be_written_is_only_a_warning(
    image_set: ImageSet, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        assert len(encode_features(image_set, Encoder(), views=1, batch_size=4, key=key)) == 10
    assert "not cached" in caplog.text


def test_a_failing_encoder_leaves_the_epoch_as_it_was(image_set: ImageSet) -> None:
    image_set.set_epoch(5)

    def fail(images: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        encode_features(image_set, fail, views=2, batch_size=4)
    assert image_set.epoch == 5


def test_one_view_an_epoch_by_seed_epoch_and_image() -> None:
    features = torch.arange(40.0).view(10, 4, 1)
    labels = torch.arange(10)

    def served(seed: int, epoch: int) -> list[int]:
        feature_set = FeatureSet(features, labels, seed)
        feature_set.set_epoch(epoch)
        assert all(feature_set[index][1:] == (index, index) for index in range(10))
        return [int(feature_set[index][0]) - 4 * index for index in range(10)]

    assert served(1, 0) == served(1, 0)
    assert served(1, 0) != served(1, 1) != served(2, 1)
    assert {view for epoch in range(5) for view in served(1, epoch)} == {0, 1, 2, 3}
