import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vlprompt.data import feature_cache, transforms
from vlprompt.data.dataset import Item
from vlprompt.data.features import FeatureSet, encode_features
from vlprompt.data.image_set import ImageSet
from vlprompt.data.images import read_image
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import cache_dir

HALF = (0.5, 0.5, 0.5)


class Encoder:
    """Encoder that returns the mean color and counts its images."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return images.mean(dim=(2, 3)).bfloat16()


@pytest.fixture
def image_set(tree: Path) -> ImageSet:
    items = [Item(f"{name}/{number}.png", label) for label, name in enumerate(("ant", "oak")) for number in range(5)]
    return ImageSet(items, tree, transforms.train_transform(8, HALF, HALF), seed=3)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))


def shards() -> list[Path]:
    return sorted((cache_dir() / "features").rglob("*.safetensors"))


def colors(root: Path, paths: list[str]) -> ImageSet:
    """The images under a deterministic transform."""
    items = [Item(path, label) for label, path in enumerate(paths)]
    return ImageSet(items, root, transforms.eval_transform(8, HALF, HALF))


def test_views_match_image_set_epochs(image_set: ImageSet) -> None:
    done: list[tuple[int, int]] = []
    features = encode_features(
        image_set, Encoder(), views=3, batch_size=4, progress=lambda *counts: done.append(counts)
    )
    assert features.features.shape == (10, 3, 3)
    assert features.features.dtype == torch.float32
    assert features.labels.tolist() == [0] * 5 + [1] * 5
    assert done[0] == (4, 30) and done[-1] == (30, 30)
    assert torch.equal(features.features[7, 2], image_set.sample(2, 7)[0].mean(dim=(1, 2)).bfloat16().float())


def test_only_views_that_the_epochs_show_are_encoded(image_set: ImageSet) -> None:
    whole = encode_features(image_set, Encoder(), views=16, batch_size=4)
    few = encode_features(image_set, encoder := Encoder(), views=16, batch_size=4, epochs=3)
    for epoch in range(3):
        for index in range(len(image_set)):
            torch.testing.assert_close(few.sample(epoch, index)[0], whole.sample(epoch, index)[0])
    encoded = ~few.features.isnan().any(-1)
    assert int(encoded.sum()) == encoder.images <= 3 * len(image_set)


def test_an_image_is_read_once_for_all_of_its_views(image_set: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return read_image(path, **options)

    monkeypatch.setattr("vlprompt.data.image_set.read_image", counted)
    encode_features(image_set, Encoder(), views=5, batch_size=3, key="weights")
    assert len(read) == len(set(read)) == len(image_set)


def test_threads_encode_the_same_features_in_order(image_set: ImageSet) -> None:
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    expected = encode_features(image_set, Encoder(), views=3, batch_size=4).features
    done: list[tuple[int, int]] = []
    found = encode_features(
        image_set, Encoder(), views=3, batch_size=4, threads=3, progress=lambda *counts: done.append(counts)
    ).features
    assert torch.equal(found, expected) and not found.requires_grad
    assert done[0] == (4, 30) and done[-1] == (30, 30)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_features_are_read_from_the_cache(image_set: ImageSet) -> None:
    encoder = Encoder()
    first = encode_features(image_set, encoder, views=2, batch_size=4, key="x")
    second = encode_features(image_set, encoder, views=2, batch_size=3, key="x")
    assert encoder.images == 20
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.features, encode_features(image_set, encoder, views=2, batch_size=4).features)
    (shard,) = shards()
    assert load_file(shard)["features"].shape == (20, 3)


def test_duplicate_images_are_encoded_once(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "copy.png").write_bytes((tree / "oak/1.png").read_bytes())
    encoder = Encoder()
    encode_features(colors(tree, ["ant/1.png", "oak/1.png"]), encoder, views=1, batch_size=4, key="x")
    there = encode_features(colors(tmp_path / "other", ["copy.png"]), encoder, views=1, batch_size=4, key="x")
    assert encoder.images == 2
    done: list[tuple[int, int]] = []
    both = encode_features(
        colors(tree, ["ant/2.png", "oak/1.png", "ant/2.png"]),
        encoder,
        views=1,
        batch_size=4,
        key="x",
        progress=lambda *counts: done.append(counts),
    )
    assert encoder.images == 3
    assert done == [(2, 2)]
    assert torch.equal(both.features[1], there.features[0])
    assert torch.equal(both.features[0], both.features[2])


def test_cache_key_covers_weights_transforms_seeds_and_contents(image_set: ImageSet, tree: Path) -> None:
    encoder = Encoder()
    encode_features(image_set, encoder, views=1, batch_size=4, key="x")
    encode_features(image_set, encoder, views=1, batch_size=4, key="y")
    image_set.seed = 4
    encode_features(image_set, encoder, views=1, batch_size=4, key="x")
    items = image_set.items
    fixed = ImageSet(items, tree, transforms.eval_transform(8, HALF, HALF))
    encode_features(fixed, encoder, views=1, batch_size=4, key="x")
    assert encoder.images == 40
    (tree / items[0].path).write_bytes((tree / items[1].path).read_bytes())
    features = encode_features(fixed, encoder, views=1, batch_size=4, key="x").features
    assert encoder.images == 40
    assert torch.equal(features[0], features[1])


def test_no_key_disables_the_cache(image_set: ImageSet) -> None:
    encoder = Encoder()
    for _ in range(2):
        encode_features(image_set, encoder, views=1, batch_size=4)
    assert encoder.images == 20


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      ", None])
def test_damaged_shard_is_recomputed(
    image_set: ImageSet, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode_features(image_set, Encoder(), views=1, batch_size=4, key="x")
    (shard,) = shards()
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    encoder = Encoder()
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        again = encode_features(image_set, encoder, views=1, batch_size=4, key="x")
    assert encoder.images == 10
    assert torch.equal(first.features, again.features)
    assert "damaged" in caplog.text
    assert [path.read_bytes() for path in shards()] == [content]


def test_unwritable_cache_warns_once(
    image_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(feature_cache, "SHARD", 3)
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        assert len(encode_features(image_set, Encoder(), views=1, batch_size=4, key="x")) == 10
    assert [record.getMessage()[:24] for record in caplog.records] == ["features are not cached:"]


def test_eviction_of_least_recently_used_shards(image_set: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a", "b"):
        encode_features(image_set, Encoder(), views=1, batch_size=4, key=key)
    a, b = sorted(shards(), key=lambda path: path.stat().st_mtime_ns)
    left_by_a_kill = b.with_name(f".{b.name}.x1")
    left_by_a_kill.write_bytes(bytes(100))
    encode_features(image_set, Encoder(), views=1, batch_size=4, key="a")  # read, so b is the oldest now
    monkeypatch.setenv("VLPROMPT_CACHE_GB", str(2.5 * a.stat().st_size / 1e9))
    encode_features(image_set, Encoder(), views=1, batch_size=4, key="c")
    assert a.exists() and not b.exists() and left_by_a_kill.exists()
    assert len(shards()) == 2
    monkeypatch.setenv("VLPROMPT_CACHE_GB", "0")
    encode_features(image_set, Encoder(), views=1, batch_size=4, key="d")
    assert shards() == [] and not left_by_a_kill.exists()


@pytest.mark.parametrize("text", ["20GB", "-1", "nan"])
def test_invalid_cache_limit_is_rejected(text: str, image_set: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE_GB", text)
    with pytest.raises(
        VLPromptError, match=f"VLPROMPT_CACHE_GB must be a non-negative number of gigabytes, such as 20, got {text}"
    ):
        encode_features(image_set, Encoder(), views=1, batch_size=4, key="x")


def test_interrupted_encoding_resumes(image_set: ImageSet) -> None:
    class Interrupted(Encoder):
        def __call__(self, images: Tensor) -> Tensor:
            if self.images == 8:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        encode_features(image_set, Interrupted(), views=2, batch_size=4, key="x")
    encoder = Encoder()
    again = encode_features(image_set, encoder, views=2, batch_size=4, key="x")
    assert encoder.images == 12
    assert torch.equal(again.features, encode_features(image_set, Encoder(), views=2, batch_size=4).features)


SLOW = """
import sys, time
from pathlib import Path
from vlprompt.data import feature_cache, transforms
from vlprompt.data.dataset import Item
from vlprompt.data.features import encode_features
from vlprompt.data.image_set import ImageSet
feature_cache.SHARD = 3
count = 0
def encode(images):
    global count
    count += len(images)
    time.sleep(0.02)
    return images.mean(dim=(2, 3))
root = Path(sys.argv[1])
items = [Item(path, 0) for path in sys.argv[2:]]
images = ImageSet(items, root, transforms.eval_transform(8, (0.5,) * 3, (0.5,) * 3))
print("ready", flush=True)
sys.stdin.readline()
features = encode_features(images, encode, views=1, batch_size=1, key="x").features
print(count, features.sum().item())
"""


def test_concurrent_writers_share_the_work(tree: Path) -> None:
    paths = [f"{name}/{number}.png" for name in ("ant", "oak") for number in range(5)]
    command = [sys.executable, "-c", SLOW, str(tree), *paths]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
    answers = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert sum(int(count) for count, _ in answers) == 10
    assert len({total for _, total in answers}) == 1
    assert not list((cache_dir() / "features").rglob("*.lock"))


def test_view_depends_on_seed_epoch_and_index() -> None:
    features = torch.arange(40.0).view(10, 4, 1)
    labels = torch.arange(10)

    def served(seed: int, epoch: int) -> list[int]:
        feature_set = FeatureSet(features, labels, seed)
        samples = [feature_set.sample(epoch, index) for index in range(10)]
        assert [sample[1:] for sample in samples] == [(index, index) for index in range(10)]
        return [int(feature) - 4 * index for feature, _, index in samples]

    assert served(1, 0) == served(1, 0)
    assert served(1, 0) != served(1, 1) != served(2, 1)
    assert {view for epoch in range(5) for view in served(1, epoch)} == {0, 1, 2, 3}
