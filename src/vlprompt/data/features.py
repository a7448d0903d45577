"""Image features of a frozen tower, computed once and kept on disk."""

import logging
from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.data.epochs import EpochDataset
from vlprompt.data.image_set import ImageSet
from vlprompt.files import atomic_write, cache_dir

logger = logging.getLogger("vlprompt")

Encode = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


class FeatureSet(EpochDataset):
    """Frozen features of V views of each image, as (feature (D,), label, index), one view per epoch.

    Which view an image shows in an epoch depends on (seed, epoch, index) only. `features` (N, V, D) and `labels` (N,)
    are there for methods that want all at once.
    """

    def __init__(self, features: Tensor, labels: Tensor, seed: int = 0) -> None:
        super().__init__(seed)
        self.features = features
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        view = self.rng(index).randrange(self.features.shape[1])
        return self.features[index, view], int(self.labels[index]), index


def encode_features(
    image_set: ImageSet,
    encode: Encode,
    *,
    views: int,
    batch_size: int,
    key: str | None = None,
    progress: Progress | None = None,
    workers: int = 0,
) -> FeatureSet:
    """Encode `views` views of each image, or read them from the cache.

    View v of an image is what `image_set` serves in epoch v, so it depends on (seed, v, index) only.

    Args:
        image_set: images with their transform; its seed also picks the views later.
        encode: images (B, 3, S, S) to features (B, D); it moves them to its device and runs without gradients.
        views: number of views; 1 for a transform without randomness.
        batch_size: images at a time.
        key: names the cache file; it must change with whatever changes a feature (weights, precision, split,
            transform, seed, views). None: no cache.
        progress: called with (images encoded, images in all) after each batch.
        workers: processes that read images; 0 reads in this one.
    """
    cached = _read_cache(key, (len(image_set), views)) if key else None
    if cached is None:
        cached = _encode(image_set, encode, views, batch_size, progress, workers)
        if key:
            _write_cache(key, cached)
    return FeatureSet(cached, image_set.labels, image_set.seed)


@torch.no_grad()
def _encode(
    image_set: ImageSet, encode: Encode, views: int, batch_size: int, progress: Progress | None, workers: int
) -> Tensor:
    epoch, done, by_view = image_set.epoch, 0, []
    loader = DataLoader(image_set, batch_size, num_workers=workers)
    try:
        for view in range(views):
            image_set.set_epoch(view)
            batches = []
            for images, _, _ in loader:
                batches.append(encode(images).float().cpu())  # (B, D)
                done += len(images)
                if progress:
                    progress(done, views * len(image_set))
            by_view.append(torch.cat(batches))  # (N, D)
    finally:
        image_set.set_epoch(epoch)
    return torch.stack(by_view, dim=1)  # (N, V, D)


def _read_cache(key: str, shape: tuple[int, int]) -> Tensor | None:
    path = cache_dir() / "features" / f"{key}.safetensors"
    try:
        features = load(path.read_bytes())["features"]
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a damaged file leads the parser to
        logger.warning("cached features %s are damaged (%s); computing them again", path, error)
        return None
    if features.ndim != 3 or tuple(features.shape[:2]) != shape:
        logger.warning("cached features %s are of shape %s; computing them again", path, tuple(features.shape))
        return None
    return features


def _write_cache(key: str, features: Tensor) -> None:
    path = cache_dir() / "features" / f"{key}.safetensors"
    try:
        atomic_write(path, save({"features": features}))
    except OSError as error:
        logger.warning("features are not cached in %s: %s", path.parent, error)
