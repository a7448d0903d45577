"""Unit features of images and classes before and after tuning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.analysis.selection import Images
from vlprompt.data.dataset import Item
from vlprompt.data.features import FeatureSet
from vlprompt.experiments.evaluate import new_names
from vlprompt.methods.base import Method
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.machine import reader_count
from vlprompt.utils.progress import Reporter

T = TypeVar("T")
U = TypeVar("U")
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Both(Generic[T]):
    """Value before tuning (frozen model, hand-crafted template) and after tuning."""

    before: T
    after: T

    def map(self, change: Callable[[T], U]) -> "Both[U]":
        """Apply a function to both values."""
        return Both(change(self.before), change(self.after))


@dataclass(frozen=True)
class Change:
    """Number before tuning (frozen model, hand-crafted template) and after tuning, or None."""

    before: float
    after: float | None


@dataclass(frozen=True)
class ClassFeatures:
    """Unit text features of C classes.

    Attributes:
        names: Class names.
        before: Features (C, D) of the hand-crafted template.
        after: Features (C, D) of the tuned method; if they depend on the image, their normalized mean over images.
            None if they depend on images and none are available.
    """

    names: tuple[str, ...]
    before: Tensor
    after: Tensor | None

    @property
    def changed(self) -> bool:
        """Whether tuning changed the features."""
        return self.after is not None and not torch.allclose(self.before, self.after, atol=1e-5)

    @property
    def features(self) -> Both[Tensor]:
        """Features before and after tuning; the same if tuning changed nothing, or if `after` is None."""
        return Both(self.before, self.after if self.changed and self.after is not None else self.before)


@dataclass(frozen=True)
class ImageFeatures:
    """Unit features of N images of C classes.

    Attributes:
        paths: Paths of the images, relative to the dataset's root.
        labels: Labels (N,).
        features: Features (N, D).
        guesses: Predicted labels (N,).
        prototypes: Means (C, D) of the frozen features of each class's shots, not normalized. Rows of classes without
            shots are NaN.
    """

    paths: tuple[str, ...]
    labels: Tensor
    features: Both[Tensor]
    guesses: Both[Tensor]
    prototypes: Tensor

    @property
    def changed(self) -> bool:
        """Whether tuning changed the features."""
        return self.features.before is not self.features.after


@dataclass(frozen=True)
class Projection:
    """Features projected onto the first two principal components of all of them.

    Attributes:
        images: Coordinates (N, 2) of the images.
        classes: Coordinates (C, 2) of the classes.
        explained: Fraction of the variance along each axis.
    """

    images: Both[Points]
    classes: Both[Points]
    explained: tuple[float, float]


@torch.no_grad()
def class_features(method: Method[Any]) -> ClassFeatures:
    """Compute the text features of the method's own classes, without images."""
    after = None if method.instance_conditional else method.text_features().float().cpu()
    return ClassFeatures(method.class_names, _template_features(method), after)


@torch.no_grad()
def image_features(method: Method[Any], images: Images, reporter: Reporter) -> tuple[ClassFeatures, ImageFeatures]:
    """Compute the features of images and of their classes, in the order of their labels.

    New classes are set on the method. Frozen features are read from the cache, if present.

    Raises:
        VLPromptError: The method cannot name new classes.
    """
    dataset = images.dataset
    if names := new_names(method, dataset):
        method.set_class_names(names)
    words = dataset.class_names
    kept = [method.class_names.index(name) for name in words]

    def frozen(items: tuple[Item, ...]) -> Tensor:
        found = evaluation_inputs(method, items, dataset.root, images.config, reporter, frozen=True)
        assert isinstance(found, FeatureSet)
        return F.normalize(found.features[:, 0].float(), dim=-1)

    text = _template_features(method)[kept]
    before = frozen(dataset.test)
    after, guessed, tuned = _tuned(method, images, kept, reporter)
    return ClassFeatures(words, text, tuned), ImageFeatures(
        paths=tuple(item.path for item in dataset.test),
        labels=_labels(dataset.test),
        features=Both(before, after if method.adapts_images else before),
        guesses=Both((before @ text.T).argmax(1), guessed),
        prototypes=class_means(frozen(dataset.train), _labels(dataset.train), len(words)),
    )


def project(classes: ClassFeatures, images: ImageFeatures) -> Projection:
    """Project images and classes, before and after tuning, onto their common first two principal components."""
    from sklearn.decomposition import PCA  # takes a second to import

    text = classes.features
    parts = [images.features.before, images.features.after, text.before, text.after]
    fit = PCA(2, svd_solver="full").fit(torch.cat(parts).double().numpy())
    one, two, three, four = (np.asarray(fit.transform(part.double().numpy())) for part in parts)
    along, across = fit.explained_variance_ratio_.tolist()
    return Projection(Both(one, two), Both(three, four), (along, across))


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean (C, D) of each class's features (N, D) with labels (N,); NaN for classes without any."""
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, labels, features)
    return sums / labels.bincount(minlength=classes)[:, None]


def _tuned(method: Method[Any], images: Images, kept: list[int], reporter: Reporter) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tuned model's image features (N, D), predicted labels (N,) and text features (C, D)."""
    runtime, dataset, device = images.config.runtime, images.dataset, method.backbone.device
    inputs = evaluation_inputs(method, dataset.test, dataset.root, images.config, reporter, frozen=False)
    text = method.class_features()
    features, guesses, total = [], [], torch.zeros(())
    done = 0
    readers = reader_count(runtime.workers, device.type)
    with reporter.bar("images") as bar:
        for batch, _, _ in DataLoader(inputs, runtime.eval_batch_size, num_workers=readers):
            prediction = method(batch.to(device), text)
            features.append(prediction.image_features.float().cpu())
            guesses.append(prediction.logits[:, kept].argmax(1).cpu())
            if text is None:
                total = total + prediction.text_features[:, kept].float().sum(0).cpu()
            done += len(batch)
            bar(done, len(inputs))
    classes = F.normalize(total, dim=-1) if text is None else text[kept].float().cpu()
    return torch.cat(features), torch.cat(guesses), classes


def _labels(items: tuple[Item, ...]) -> Tensor:
    return torch.tensor([item.label for item in items])


def _template_features(method: Method[Any]) -> Tensor:
    """Return the features (C, D) of the method's template."""
    return method.backbone.template_features(method.options.template, method.class_names).cpu()
