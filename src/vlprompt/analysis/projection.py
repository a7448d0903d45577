"""Unit features of images and classes on two axes, the same ones before tuning and after it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vlprompt.analysis.tuned_features import Both, ClassFeatures, ImageFeatures

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """Principal components of all features together.

    Attributes:
        images: (N, 2) each.
        classes: (C, 2) each.
        explained: share of the variance along each of the two axes.
    """

    images: Both[Points]
    classes: Both[Points]
    explained: tuple[float, float]


def project(classes: ClassFeatures, images: ImageFeatures) -> Projection:
    """The two axes that most of the variance lies along, of images and classes, before and after, in one fit."""
    from sklearn.decomposition import PCA  # takes a second to import

    text = classes.features
    parts = [images.features.before, images.features.after, text.before, text.after]
    fit = PCA(2, svd_solver="full").fit(torch.cat(parts).double().numpy())
    one, two, three, four = (np.asarray(fit.transform(part.double().numpy())) for part in parts)
    along, across = fit.explained_variance_ratio_.tolist()
    return Projection(Both(one, two), Both(three, four), (along, across))
