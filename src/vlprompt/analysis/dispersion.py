"""How far classes are apart and images from their class: the quantities that DAPT (arXiv 2309.03406) tunes.

All distances are Euclidean, between unit features. DAPT's terms and its figure 1 are about the two: class embeddings
pushed apart (inter-dispersion), images drawn to their class (intra-dispersion).
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vlprompt.analysis.summaries import Change
from vlprompt.analysis.tuned_features import ClassFeatures, ImageFeatures, class_means
from vlprompt.methods.dapt import gaussian_potential

RBF_T = 2.0  # t of the Gaussian potential, DAPT's

Quantity = Callable[[Tensor], Tensor]


def pair_distances(text: Tensor) -> Tensor:
    """Distances between class embeddings (C, D), one for each of the C (C - 1) / 2 pairs."""
    distances: Tensor = torch.pdist(text)
    return distances


def nearest_distances(text: Tensor) -> Tensor:
    """Distance (C,) from each class embedding (C, D) to the nearest other one."""
    distances: Tensor = torch.cdist(text, text, compute_mode="donot_use_mm_for_euclid_dist")
    nearest: Tensor = distances.fill_diagonal_(torch.inf).amin(1)
    return nearest


def prototype_distances(features: Tensor, images: ImageFeatures) -> Tensor:
    """Distance from each image's feature (N, D) to the frozen prototype of its class; of classes that have one."""
    distances = _lengths(features - images.prototypes[images.labels])
    return distances[distances.isfinite()]


def own_mean_distances(features: Tensor, images: ImageFeatures) -> Tensor:
    """Distance from each image's feature (N, D) to the mean of its class's; of classes with two images or more."""
    labels, classes = images.labels, len(images.prototypes)
    distances = _lengths(features - class_means(features, labels, classes)[labels])
    return distances[labels.bincount(minlength=classes)[labels] > 1]


def text_dispersion(classes: ClassFeatures) -> dict[str, Change]:
    """Of class embeddings: mean distance of pairs and to the nearest other class, and DAPT's inter-dispersion."""
    if len(classes.names) < 2:
        return {}
    quantities: dict[str, Quantity] = {
        "class_distance": lambda text: pair_distances(text).mean(),
        "nearest_class_distance": lambda text: nearest_distances(text).mean(),
        "inter_dispersion": lambda text: gaussian_potential(text, RBF_T),
    }
    return _changes(quantities, classes.before, classes.after if classes.changed else None)


def image_dispersion(images: ImageFeatures) -> dict[str, Change]:
    """Of images: mean distance to the prototype, DAPT's intra-dispersion, mean distance to the mean of their class.

    What no class has the images for is not there.
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
    """Distance between the mean unit feature of images and that of classes (Liang et al., arXiv 2203.02053)."""

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
    """Euclidean norms (...) of vectors (..., D)."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms
