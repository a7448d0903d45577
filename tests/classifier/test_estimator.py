import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from vlprompt import PromptClassifier, VLPromptError, load_backbone
from vlprompt.backbones.backbone import Backbone
from vlprompt.data.images import ImageError

# Checks that do not need a numeric table as X; docs/classifier.md lists these and the ones that cannot pass.
CONTRACTS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.fixture(scope="module")
def backbone(weights: Path) -> Backbone:
    return load_backbone(str(weights), device="cpu")


@pytest.fixture
def estimator(backbone: Backbone) -> PromptClassifier:
    """Linear probe, which learns these colors quickly on any tower."""
    return PromptClassifier(method="linear-probe", backbone=backbone)


@pytest.fixture(scope="module")
def images(pictures: Path) -> tuple[list[Path], list[str]]:
    paths = sorted(pictures.rglob("*.png"))
    return paths, [path.parent.name for path in paths]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_scikit_learn_estimator_checks(contract: str) -> None:
    getattr(estimator_checks, contract)("PromptClassifier", PromptClassifier(method="zero-shot", backbone="embedded"))


def test_fitted_estimator_can_be_pickled(backbone: Backbone, images: tuple[list[Path], list[str]]) -> None:
    paths, labels = images
    estimator = PromptClassifier(method="coop", backbone="embedded", settings={"optim.epochs": 1, "data.views": 1})
    fitted = estimator.fit(paths, labels)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - its own
    np.testing.assert_array_equal(again.predict_proba(paths[:2]), fitted.predict_proba(paths[:2]))
    again.classifier_.remove_classes(["night"])
    again.classifier_.add_classes(["fog"])  # as many as before
    with pytest.raises(VLPromptError, match=r"the estimator knows only those of `y`; call classifier_\.predict"):
        again.predict_proba(paths[:2])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_data_frames(
    library: str, estimator: PromptClassifier, images: tuple[list[Path], list[str]]
) -> None:
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"path": list(map(str, images[0])), "label": images[1]})
    expected = estimator.fit(*images).predict_proba(images[0])
    fitted = clone(estimator).fit(frame[["path"]], frame["label"])
    for X in (frame[["path"]], frame["path"], frame["path"].to_numpy()[:, None]):
        np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    with pytest.raises(VLPromptError, match="`X` must be one column of images, got 'path', 'label'; pass one of these"):
        estimator.fit(frame, frame["label"])


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (8, 8, 4)])
def test_single_image_array_is_refused(
    shape: tuple[int, ...], estimator: PromptClassifier, images: tuple[list[Path], list[str]]
) -> None:
    picture = np.zeros(shape, np.uint8)
    with pytest.raises(VLPromptError, match=r"`X` must be a sequence of images, got one image; pass \[X\]"):
        estimator.fit(picture, ["a"] * 8)
    fitted = estimator.fit(*images)
    for ask in (fitted.predict, fitted.predict_proba):
        with pytest.raises(VLPromptError, match=r"`X` must be a sequence of images, got one image; pass \[X\]"):
            ask(picture)


def test_fit_predict_and_score(estimator: PromptClassifier, images: tuple[list[Path], list[str]]) -> None:
    paths, labels = images
    assert estimator.fit(paths, labels) is estimator
    assert list(estimator.classes_) == sorted(set(labels))
    assert estimator.classifier_.class_names == ("blue sky", "green leaf", "night", "red apple")
    probabilities = estimator.predict_proba(paths)
    assert probabilities.shape == (48, 4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (estimator.predict(paths) == estimator.classes_[probabilities.argmax(1)]).all()
    assert estimator.score(paths, labels) > 0.8


@pytest.mark.parametrize("kind", ["paths", "pictures", "arrays", "one array"])
def test_every_kind_of_image_gives_the_same(
    estimator: PromptClassifier, images: tuple[list[Path], list[str]], kind: str
) -> None:
    paths, labels = images
    pictures = [Image.open(path) for path in paths]
    held: dict[str, Any] = {
        "paths": list(map(str, paths)),
        "pictures": pictures,
        "arrays": [np.asarray(picture) for picture in pictures],
        "one array": np.stack([np.asarray(picture) for picture in pictures]),
    }
    expected = clone(estimator).fit(paths, labels).predict_proba(paths)
    np.testing.assert_allclose(estimator.fit(held[kind], labels).predict_proba(held[kind]), expected, atol=1e-6)


def test_numeric_labels_with_name_map(backbone: Backbone, images: tuple[list[Path], list[str]]) -> None:
    paths, labels = images
    words = {7: "a red apple", 3: "a blue sky", 5: "a green leaf", 9: "the night"}
    numbers = [{"red_apple": 7, "blue_sky": 3, "green_leaf": 5, "night": 9}[label] for label in labels]
    estimator = PromptClassifier(method="zero-shot", backbone=backbone, name_map=words, template="this is {}.")
    estimator.fit(paths, numbers)
    assert list(estimator.classes_) == [3, 5, 7, 9]
    assert estimator.classifier_.class_names == ("a blue sky", "a green leaf", "a red apple", "the night")
    assert estimator.classifier_.method.options.template == "this is {}."
    assert set(estimator.predict(paths)) <= {3, 5, 7, 9}
    with pytest.raises(VLPromptError, match="`name_map` must map labels to class names"):
        estimator.set_params(name_map=list(words.values())).fit(paths, numbers)
    with pytest.raises(VLPromptError, match=r"`name_map` has no entry for .*9"):
        estimator.set_params(name_map={3: "x", 5: "y", 7: "z"}).fit(paths, numbers)


def test_cross_val_score(estimator: PromptClassifier, images: tuple[list[Path], list[str]]) -> None:
    scores = cross_val_score(estimator, *images, cv=3, error_score="raise")
    assert scores.shape == (3,)
    assert scores.mean() > 0.8


def test_cross_validate_in_processes_returns_estimators(images: tuple[list[Path], list[str]]) -> None:
    estimator = PromptClassifier(method="linear-probe", backbone="embedded", device="cpu")
    found = cross_validate(estimator, *images, cv=2, n_jobs=2, return_estimator=True, error_score="raise")
    assert [each.predict(images[0][:1]).shape for each in found["estimator"]] == [(1,), (1,)]


def test_grid_search(backbone: Backbone, images: tuple[list[Path], list[str]]) -> None:
    estimator = PromptClassifier(backbone=backbone)
    grid = {"method": ["zero-shot", "linear-probe"], "shots": [1, None]}
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(*images)
    assert search.best_params_["method"] == "linear-probe"
    assert search.best_estimator_.score(*images) > 0.8
    assert search.predict(images[0][:2]).shape == (2,)


def test_pipeline(estimator: PromptClassifier, images: tuple[list[Path], list[str]]) -> None:
    paths, labels = images

    def mirror(pictures: list[Path]) -> list[Image.Image]:
        return [ImageOps.mirror(Image.open(path)) for path in pictures]

    pipeline = Pipeline([("mirror", FunctionTransformer(mirror)), ("prompts", estimator)])
    assert pipeline.fit(paths, labels).score(paths, labels) > 0.8
    assert cross_val_score(pipeline, paths, labels, cv=2, error_score="raise").shape == (2,)


def test_clones_share_only_the_backbone(estimator: PromptClassifier, images: tuple[list[Path], list[str]]) -> None:
    estimator.fit(*images)
    copy = clone(estimator)
    assert copy.backbone is estimator.backbone
    assert not hasattr(copy, "classifier_")
    assert copy.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(images[0])


def test_random_state_sets_the_seed(backbone: Backbone, images: tuple[list[Path], list[str]]) -> None:
    settings = {"optim.epochs": 1, "method.n_ctx": 2, "data.views": 1}

    def fitted(seed: int) -> np.ndarray:
        estimator = PromptClassifier(method="coop", backbone=backbone, shots=2, settings=settings, random_state=seed)
        return estimator.fit(*images).predict_proba(images[0][:4])

    assert np.array_equal(fitted(1), fitted(1))
    assert not np.array_equal(fitted(1), fitted(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, y[:-1]), r"`y` must have shape \(48,\), one label per image of `X`, got \(47,\)"),
        (lambda X, y: (X, [[label] for label in y]), r"got \(48, 1\)"),
        (lambda X, y: (X, ["one"] * len(y)), "`y` must have at least 2 classes, got 1"),
        (lambda X, y: (["nowhere.png", *X[1:]], y), "cannot read image nowhere.png: no such file"),
        (lambda X, y: (np.zeros((48, 5)), y), r"an array must have shape .*, got \(5,\)"),
        (lambda X, y: (X, np.linspace(0, 1, 48)), "Unknown label type: continuous"),
    ],
)
def test_invalid_fit_arguments_raise(
    estimator: PromptClassifier,
    images: tuple[list[Path], list[str]],
    change: Callable[[Any, Any], tuple[Any, Any]],
    message: str,
) -> None:
    with pytest.raises((VLPromptError, ImageError, ValueError), match=message):
        estimator.fit(*change(*images))


def test_unknown_option_raises(backbone: Backbone, images: tuple[list[Path], list[str]]) -> None:
    estimator = PromptClassifier(method="coop", backbone=backbone, settings={"method.n_contexts": 2})
    with pytest.raises(VLPromptError, match="has no option 'n_contexts'"):
        estimator.fit(*images)
