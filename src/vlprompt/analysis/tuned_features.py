"""Unit features of images and classes, before tuning and after it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.analysis.selection import Images
from vlprompt.data.class_names import as_words
from vlprompt.data.dataset import Item
from vlprompt.data.features import FeatureSet
from vlprompt.experiments.testing import columns, new_names
from vlprompt.methods.base import Method
from vlprompt.training.inputs import evaluation_inputs
from vlprompt.utils.progress import Reporter

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Both(Generic[T]):
    """What the frozen model with the hand-crafted template says, and what the tuned one does."""

    before: T
    after: T

    def map(self, change: Callable[[T], U]) -> "Both[U]":
        """The same of what `change` makes of each."""
        return Both(change(self.before), change(self.after))


@dataclass(frozen=True)
class ClassFeatures:
    """Unit text features.

    Attributes:
        names: of the C classes.
        before: (C, D), of the hand-crafted template.
        after: (C, D), of the tuned method; where every image has its own, their mean over the images, normalized.
            None where that needs images and there are none.
    """

    names: tuple[str, ...]
    before: Tensor
    after: Tensor | None

    @property
    def changed(self) -> bool:
        """Whether tuning did anything to them."""
        return self.after is not None and not torch.allclose(self.before, self.after, atol=1e-5)

    @property
    def features(self) -> Both[Tensor]:
        """Before and after; where nothing has changed, or is not known to, the same twice."""
        return Both(self.before, self.after if self.changed and self.after is not None else self.before)


@dataclass(frozen=True)
class ImageFeatures:
    """Unit features of N images of C classes.

    Attributes:
        paths: of the images, relative to the dataset's root.
        labels: (N,).
        features: (N, D).
        guesses: labels (N,) that the frozen and the tuned model give.
        prototypes: (C, D), means of the unit frozen features of each class's shots; not normalized again. Rows of
            classes without a shot are NaN.
    """

    paths: tuple[str, ...]
    labels: Tensor
    features: Both[Tensor]
    guesses: Both[Tensor]
    prototypes: Tensor

    @property
    def changed(self) -> bool:
        """Whether tuning did anything to the features."""
        return self.features.before is not self.features.after


@torch.no_grad()
def class_features(method: Method[Any]) -> ClassFeatures:
    """Those of the method's own classes, without images."""
    after = None if method.instance_conditional else method.text_features().float().cpu()
    return ClassFeatures(method.class_names, _template_features(method), after)


@torch.no_grad()
def image_features(method: Method[Any], images: Images, reporter: Reporter) -> tuple[ClassFeatures, ImageFeatures]:
    """Those of images and of their classes, in the order of their labels.

    The method is told the classes if it does not know them; VLPromptError where it cannot name new ones. Frozen
    features come from the cache where they are there.
    """
    dataset = images.dataset
    if names := new_names(method, dataset):
        method.set_class_names(names)
    words = as_words(dataset.class_names)
    kept = columns(words, method.class_names)

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


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean feature (C, D) of each class's of features (N, D) with labels (N,); NaN where it has none."""
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, labels, features)
    return sums / labels.bincount(minlength=classes)[:, None]


def _tuned(method: Method[Any], images: Images, kept: list[int], reporter: Reporter) -> tuple[Tensor, Tensor, Tensor]:
    """The tuned model's image features (N, D), guesses (N,) and text features (C, D)."""
    runtime, dataset, device = images.config.runtime, images.dataset, method.backbone.device
    inputs = evaluation_inputs(method, dataset.test, dataset.root, images.config, reporter, frozen=False)
    text = method.class_features()
    features, guesses, total = [], [], torch.zeros(())
    done = 0
    with reporter.bar("look at images") as bar:
        for batch, _, _ in DataLoader(inputs, runtime.eval_batch_size, num_workers=runtime.workers):
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
    """Unit features (C, D) of the plain template; a method's own view of it may have more sentences."""
    return method.backbone.template_features(method.options.template, method.class_names).cpu()
