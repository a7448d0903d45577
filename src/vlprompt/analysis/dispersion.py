"""Distances between classes, and between images and their class: the quantities that DAPT tunes (arXiv 2309.03406).

All distances are Euclidean, between unit features. DAPT pushes class embeddings apart (inter-dispersion) and pulls
images to their class (intra-dispersion); see its figure 1.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vlprompt.analysis.tuned_features import Change, ClassFeatures, ImageFeatures, class_means
from vlprompt.methods.dapt import gaussian_potential

RBF_T = 2.0  # t of DAPT's Gaussian potential

Quantity = Callable[[Tensor], Tensor]


def pair_distances(text: Tensor) -> Tensor:
    """Return the distances between class embeddings (C, D), one for each of the C (C - 1) / 2 pairs."""
    distances: Tensor = torch.pdist(text)
    return distances


def nearest_distances(text: Tensor) -> Tensor:
    """Return the distance (C,) from each class embedding (C, D) to the nearest other one."""
    distances: Tensor = torch.cdist(text, text, compute_mode="donot_use_mm_for_euclid_dist")
    nearest: Tensor = distances.fill_diagonal_(torch.inf).amin(1)
    return nearest


def prototype_distances(features: Tensor, images: ImageFeatures) -> Tensor:
    """Return the distance from each feature (N, D) to the frozen prototype of its class, if it has one."""
    distances = _lengths(features - images.prototypes[images.labels])
    return distances[distances.isfinite()]


def own_mean_distances(features: Tensor, images: ImageFeatures) -> Tensor:
    """Return the distance from each feature (N, D) to the mean of its class, for classes of at least two images."""
    labels, classes = images.labels, len(images.prototypes)
    distances = _lengths(features - class_means(features, labels, classes)[labels])
    return distances[labels.bincount(minlength=classes)[labels] > 1]


def text_dispersion(classes: ClassFeatures) -> dict[str, Change]:
    """Return the mean distances of pairs of classes and to the nearest class, and DAPT's inter-dispersion."""
    if len(classes.names) < 2:
        return {}
    quantities: dict[str, Quantity] = {
        "class_distance": lambda text: pair_distances(text).mean(),
        "nearest_class_distance": lambda text: nearest_distances(text).mean(),
        "inter_dispersion": lambda text: gaussian_potential(text, RBF_T),
    }
    return _changes(quantities, classes.before, classes.after if classes.changed else None)


def image_dispersion(images: ImageFeatures) -> dict[str, Change]:
    """Return the mean distance to the prototype, DAPT's intra-dispersion, and the mean distance to the class mean.

    Quantities that no class has enough images for are left out.
    """
    targets = images.prototypes[images.labels]
    known = targets.isfinite().all(1)
    quantities: dict[str, Quantity] = {
        "prototype_distance": lambda features: prototype_distances(features, images).mean(),
        "intra_dispersion": lambda features: (features - targets)[known].square().mean(),
        "own_mean_distance": lambda features: own_mean_distances(features, images).mean(),
    }
    found = _changes(quantities, images.features.before, images.features.after if images.changed else None)
    return {name: change for name, change in found.items() if not math.isnan(change.before)}


def modality_gap(classes: ClassFeatures, images: ImageFeatures) -> Change:
    """Return the distance between the mean features of images and of classes (Liang et al., arXiv 2203.02053)."""

    def gap(features: Tensor, text: Tensor) -> float:
        return _lengths(features.mean(0) - text.mean(0)).item()

    both, text = images.features, classes.features
    after = gap(both.after, text.after) if classes.changed or images.changed else None
    return Change(gap(both.before, text.before), after)


def _changes(quantities: Mapping[str, Quantity], before: Tensor, after: Tensor | None) -> dict[str, Change]:
    return {
        name: Change(measure(before).item(), None if after is None else measure(after).item())
        for name, measure in quantities.items()
    }


def _lengths(vectors: Tensor) -> Tensor:
    """Return the Euclidean norms (...) of vectors (..., D)."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms
