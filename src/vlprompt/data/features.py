"""Image features of a frozen tower, computed once and cached on disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlprompt.data.feature_cache import cached, entry_name, stored
from vlprompt.data.file_facts import content_hashes
from vlprompt.data.image_set import EpochDataset, ImageSet, Progress
from vlprompt.data.sampling import image_rng
from vlprompt.data.transforms import FixedTransform

# Version of image reading in the cache's keys: 4 since views of large JPEGs show the same part at any decoded size.
READING_VERSION = 4
PART = 16  # images that a thread encodes at a time

Encode = Callable[[Tensor], Tensor]


class FeatureSet(EpochDataset):
    """Frozen features of V views of each image, as (feature (D,), label, index), one view per epoch.

    The view of an image in an epoch depends only on (seed, epoch, index).

    Args:
        features: tensor with shape (N, V, D), V views of N images; methods may read all at once.
        labels: int64 tensor with shape (N,).
        seed: seed for choosing the views.
    """

    def __init__(self, features: Tensor, labels: Tensor, seed: int = 0) -> None:
        super().__init__(seed)
        self.features = features
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def view(self, epoch: int, index: int) -> int:
        """Return the view of an image in an epoch."""
        return view_of(self.seed, epoch, index, self.features.shape[1])

    def sample(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        """Return (feature (D,), label, index) of the view for the epoch."""
        return self.features[index, self.view(epoch, index)], int(self.labels[index]), index


def encode_features(
    image_set: ImageSet,
    encode: Encode,
    *,
    views: int,
    batch_size: int,
    key: str | None = None,
    progress: Progress = lambda done, total: None,
    workers: int = 0,
    threads: int = 1,
    epochs: int | None = None,
) -> FeatureSet:
    """Encode the views of each image that some epochs show, out of `views`, or read them from the cache.

    View v of an image is the sample of `image_set` in epoch v, so it depends only on (seed, v, index). The cache
    identifies images by their content: with a deterministic transform, an image in two datasets or under two paths is
    encoded once. The seventh digit of a feature may depend on the other images of its batch.

    Args:
        image_set: images with their transform; its seed also chooses the views later.
        encode: maps images (B, 3, S, S) on the CPU to features (B, D); called without gradients.
        views: number of views V; 1 for a deterministic transform.
        batch_size: number of images encoded at a time.
        key: identifies the encoder (weights, precision, device) in the cache; None disables the cache.
        progress: called with (features done, total features) after each batch.
        workers: number of processes that read images; 0 reads them in this process.
        threads: number of threads that read and encode side by side, each with one thread inside operations: for a CPU,
            where operations share threads less well. Not used with `workers`.
        epochs: number of epochs that the features are for; None for all views.

    Returns:
        Dataset of the features (N, V, D) and labels (N,) that serves one view per epoch. Views that no epoch shows are
        NaN.

    Raises:
        ImageError: an image cannot be read.
    """
    entries = _entries(image_set, views, epochs)

    def compute(positions: Sequence[int]) -> Iterator[Tensor]:
        asked = [entries[position] for position in positions]
        if threads > 1 and not workers:
            return _encode_in_threads(image_set, encode, asked, min(batch_size, PART), threads)
        return _encode(image_set, encode, asked, batch_size, workers)

    if key is None:
        batches: list[Tensor] = []
        for batch in compute(range(len(entries))):
            batches.append(batch)
            progress(sum(map(len, batches)), len(entries))
        found = torch.cat(batches)  # (entries, D)
    else:
        found = cached(_shelf(key, image_set), _names(image_set, entries), compute, progress)
    features = found.new_full((len(image_set), views, found.shape[1]), torch.nan)
    drawn = torch.tensor(entries)
    features[drawn[:, 1], drawn[:, 0]] = found
    return FeatureSet(features, image_set.labels, image_set.seed)


def features_to_encode(
    image_set: ImageSet, *, views: int, key: str, known: dict[str, set[bytes]], epochs: int | None = None
) -> set[bytes]:
    """Return the cache's names of the features that `encode_features` would have to compute.

    Args:
        image_set: images with their transform.
        views: number of views.
        key: identifies the encoder in the cache.
        known: names that the cache holds, by shelf; filled in here, so that many calls read the cache once.
        epochs: see `encode_features`.

    Raises:
        ImageError: an image cannot be read.
    """
    shelf = _shelf(key, image_set)
    if shelf not in known:
        known[shelf] = stored(shelf)
    return set(_names(image_set, _entries(image_set, views, epochs))) - known[shelf]


def _shelf(key: str, image_set: ImageSet) -> str:
    return f"{key} {image_set.transform} {READING_VERSION} {image_set.value_range}"


def view_of(seed: int, epoch: int, index: int, views: int) -> int:
    """Return which of its views an image shows in an epoch."""
    return image_rng(seed, epoch, index).randrange(views)


def _entries(image_set: ImageSet, views: int, epochs: int | None) -> list[tuple[int, int]]:
    """Return the (view, index) that the epochs show, or all of them, image by image."""
    everything = range(views)

    def drawn(index: int) -> Iterable[int]:
        if epochs is None:
            return everything
        return sorted({view_of(image_set.seed, epoch, index, views) for epoch in range(epochs)})

    return [(view, index) for index in range(len(image_set)) for view in drawn(index)]


class _Views(Dataset[Tensor]):
    """Views of images as (3, S, S). An image is read once for consecutive views, since decoding it costs the most."""

    def __init__(self, image_set: ImageSet, entries: Sequence[tuple[int, int]]) -> None:
        self._image_set = image_set
        self._entries = entries
        self._last: tuple[int, Image] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, position: int) -> Tensor:
        view, index = self._entries[position]
        if self._last is None or self._last[0] != index:
            self._last = index, self._image_set.read(index)
        return self._image_set.transform(self._last[1], image_rng(self._image_set.seed, view, index))


@torch.no_grad()
def _encode(
    image_set: ImageSet, encode: Encode, entries: Sequence[tuple[int, int]], batch_size: int, workers: int
) -> Iterator[Tensor]:
    """Yield features (B, D) of (view, index) entries in batches."""
    for images in DataLoader(_Views(image_set, entries), batch_size, num_workers=workers):
        yield encode(images).float().cpu()


def _encode_in_threads(
    image_set: ImageSet, encode: Encode, entries: Sequence[tuple[int, int]], batch_size: int, threads: int
) -> Iterator[Tensor]:
    """Yield features (B, D) of (view, index) entries in batches, in order."""

    def read_and_encode(start: int) -> Tensor:
        torch.set_num_threads(1)  # of this thread alone
        views = _Views(image_set, entries[start : start + batch_size])
        with torch.no_grad():
            return encode(torch.stack([views[i] for i in range(len(views))])).float().cpu()

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(read_and_encode, range(0, len(entries), batch_size))


def _names(image_set: ImageSet, entries: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the cache entry of each (view, index), named by image content and, for random transforms, by seed."""
    images = content_hashes(image_set.root, [item.path for item in image_set.items])
    if isinstance(image_set.transform, FixedTransform):
        return [entry_name(images[index]) for _, index in entries]
    return [entry_name(f"{images[index]} {image_set.seed}/{view}/{index}") for view, index in entries]
