"""Prompt tuning as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from vlprompt.backbones.backbone import Backbone
from vlprompt.classifier.image_inputs import ImageLike, as_image, column_of, is_single
from vlprompt.classifier.tune import tune
from vlprompt.data.dataset import Dataset, Item
from vlprompt.errors import VLPromptError


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn classifier for images: `X` is a sequence of what `Classifier.predict` takes, `y` their labels.

    Both may be columns of a data frame, and `X` a frame with one column.

    Args:
        method: name of the method, one of `list_methods()`; default: the recipe's, or the backbone's, as in `tune`.
        backbone: name or path, loaded in every `fit`, or a loaded `Backbone`, which clones share. "auto" is "photos" if
            the extra `photos` is installed, else "embedded".
        name_map: class names for the labels of `y`; default: the labels themselves.
        template: one or several sentences with `{}` for the class name; default: "a photo of a {}.".
        shots: training images per class, drawn from `X`; default: all.
        recipe: settings to start from, as in `tune`.
        settings: other settings by dotted key, as in `tune`.
        device: device to load the backbone on, as in `load_backbone`.
        random_state: seed of the shots, the initialization, the image order and the augmentation.

    Attributes:
        classes_: sorted labels, array with shape (C,).
        classifier_: fitted `Classifier`, whose classes are in the order of `classes_`.

    Examples:
        >>> estimator = vlprompt.PromptClassifier(method="linear-probe", backbone="embedded").fit(paths, labels)
        >>> estimator.predict_proba(paths).shape
        (48, 4)
    """

    def __init__(
        self,
        *,
        method: str | None = None,
        backbone: str | Backbone = "auto",
        name_map: Mapping[Any, str] | None = None,
        template: str | list[str] | None = None,
        shots: int | None = None,
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: int = 1,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.name_map = name_map
        self.template = template
        self.shots = shots
        self.recipe = recipe
        self.settings = settings
        self.device = device
        self.random_state = random_state

    def fit(self, X: Sequence[ImageLike] | NDArray[Any], y: ArrayLike) -> Self:
        """Learn prompts from N images and their labels (N,).

        Raises:
            VLPromptError: an argument is wrong, or there are fewer than two classes.
            ImageError: an image cannot be read.
        """
        X = _several(X)
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(X):
            raise VLPromptError(f"`y` must have shape ({len(X)},), one label per image of `X`, got {labels.shape}")
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise VLPromptError(f"`y` must have at least 2 classes, got {len(self.classes_)}")
        settings = dict(self.settings or {})
        if self.template is not None:
            settings["method.template"] = self.template
        with TemporaryDirectory(prefix="vlprompt-") as folder:
            items = tuple(_written(X, encoded, Path(folder)))
            self.classifier_ = tune(
                Dataset("images", Path(folder), self._class_names(), train=items, val=(), test=()),
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

    def predict_proba(self, X: Sequence[ImageLike] | NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, C), with columns in the order of `classes_`.

        Raises:
            ImageError: an image cannot be read.
        """
        check_is_fitted(self)
        X = _several(X)
        if self.classifier_.class_names != tuple(self.classifier_.record.class_names):
            raise VLPromptError(
                "the classes of classifier_ were changed, but the estimator knows only those of `y`; call "
                "classifier_.predict instead"
            )
        guesses = self.classifier_.predict(list(X), top=1)
        rows = [guess.probabilities for guess in guesses]
        return np.asarray(rows, np.float32).reshape(-1, len(self.classes_))

    def predict(self, X: Sequence[ImageLike] | NDArray[Any]) -> NDArray[Any]:
        """Return the most likely labels (N,).

        Raises:
            ImageError: an image cannot be read.
        """
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def _class_names(self) -> tuple[str, ...]:
        names = self.name_map
        if names is None:
            return tuple(map(str, self.classes_))
        if not isinstance(names, Mapping):
            raise VLPromptError(
                f"`name_map` must map labels to class names, such as {{0: 'cat', 1: 'dog'}}, got {type(names).__name__}"
            )
        if missing := [label for label in self.classes_ if label not in names]:
            raise VLPromptError(f"`name_map` has no entry for {missing[0]!r}; add one for every label of `y`")
        return tuple(names[label] for label in self.classes_)


def _several(X: Any) -> Any:
    """Return the images of `X`, which must not be a single one."""
    array = isinstance(X, np.ndarray) and X.dtype != object and X.ndim == 3 and X.shape[2] in (1, 3, 4)
    if array or is_single(X):
        raise VLPromptError("`X` must be a sequence of images, got one image; pass [X]")
    return column_of(X, "X")


def _written(images: Sequence[ImageLike] | NDArray[Any], labels: NDArray[Any], folder: Path) -> list[Item]:
    """Write each image into a file of the folder, since training reads files."""
    items = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = f"{number:06}.png"
        as_image(image).save(folder / name, compress_level=1)
        items.append(Item(name, int(label)))
    return items
