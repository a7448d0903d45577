"""Prompt tuning as scikit-learn has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from vlprompt.backbones.backbone import Backbone
from vlprompt.classifier.image_inputs import Picture, as_image
from vlprompt.classifier.tune import tune
from vlprompt.data.class_names import as_words
from vlprompt.data.dataset import Dataset, Item
from vlprompt.errors import VLPromptError


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier of pictures: `X` is a sequence of paths, PIL images or arrays, `y` their classes.

    Args:
        method: one of `list_methods()`.
        backbone: what `load_backbone` takes, loaded in every `fit`; or what it returned, which clones share.
        class_names: the words for each label of `y`, as a mapping; None: the labels themselves.
        template: a sentence with {} for the class name, or several; None for "a photo of a {}.".
        shots: training images of each class, drawn from `X`; None for all of them.
        recipe: as in `tune`.
        settings: any others, by their dotted names, as in `tune`.
        device: as in `load_backbone`.
        random_state: seed of everything that is random.

    Attributes:
        classes_: labels, sorted, (C,).
        classifier_: the `Classifier`; its classes are in the order of `classes_`.
    """

    def __init__(
        self,
        *,
        method: str = "dapt",
        backbone: str | Backbone = "embedded",
        class_names: Mapping[Any, str] | None = None,
        template: str | list[str] | None = None,
        shots: int | None = None,
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: int = 1,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.class_names = class_names
        self.template = template
        self.shots = shots
        self.recipe = recipe
        self.settings = settings
        self.device = device
        self.random_state = random_state

    def fit(self, X: Sequence[Picture] | NDArray[Any], y: ArrayLike) -> Self:
        """Learn prompts from pictures `X` (N) and their labels `y` (N,).

        Raises:
            VLPromptError: an option that is wrong, or fewer than two classes.
            ImageError: a picture that cannot be read; it says which.
        """
        _refuse_one(X)
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(X):
            raise VLPromptError(f"X has {len(X)} pictures and y the shape {labels.shape}; give one label for each")
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise VLPromptError(f"y has {len(self.classes_)} class; a classifier needs two or more")
        settings = dict(self.settings or {})
        if self.template is not None:
            settings["method.template"] = self.template
        with TemporaryDirectory(prefix="vlprompt-") as folder:
            items = tuple(_written(X, encoded, Path(folder)))
            self.classifier_ = tune(
                Dataset("pictures", Path(folder), self._words(), train=items, val=(), test=()),
                method=self.method,
                backbone=self.backbone,
                shots=int(np.bincount(encoded).max()) if self.shots is None else self.shots,
                seed=self.random_state,
                recipe=self.recipe,
                settings=settings,
                device=self.device,
                quiet=True,
            )
        return self

    def predict_proba(self, X: Sequence[Picture] | NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities (N, C), columns in the order of `classes_`. ImageError as in `fit`."""
        check_is_fitted(self)
        _refuse_one(X)
        if self.classifier_.class_names != as_words(self.classifier_.record.class_names):
            raise VLPromptError(
                "classes were added to or removed from classifier_, and the estimator knows those of y alone; ask "
                "classifier_.predict"
            )
        guesses = self.classifier_.predict(list(X), top=1)
        found = [guess.probabilities for guess in guesses]
        return np.asarray(found, np.float32).reshape(-1, len(self.classes_))

    def predict(self, X: Sequence[Picture] | NDArray[Any]) -> NDArray[Any]:
        """Labels (N,). ImageError as in `fit`."""
        likeliest = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[likeliest])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def _words(self) -> tuple[str, ...]:
        names = self.class_names
        if names is None:
            return tuple(map(str, self.classes_))
        if not isinstance(names, Mapping):
            raise VLPromptError("class_names is a mapping of labels to words, such as {0: 'cat', 1: 'dog'}")
        missing = [label for label in self.classes_ if label not in names]
        if missing:
            raise VLPromptError(f"class_names has no words for {missing[0]!r}; name every label of y")
        return tuple(names[label] for label in self.classes_)


def _refuse_one(X: Any) -> None:
    array = isinstance(X, np.ndarray) and X.dtype != object and X.ndim == 3 and X.shape[2] in (1, 3, 4)
    if array or isinstance(X, str | bytes | Path | Image.Image):
        raise VLPromptError("X is one picture; give a list of them, such as [X]")


def _written(pictures: Sequence[Picture] | NDArray[Any], labels: NDArray[Any], folder: Path) -> list[Item]:
    """Every picture as a file of the folder, since training reads files."""
    items = []
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        name = f"{number:06}.png"
        as_image(picture).save(folder / name, compress_level=1)
        items.append(Item(name, int(label)))
    return items
