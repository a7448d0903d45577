"""The linear probe against scikit-learn's predictions."""

import numpy
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import TensorDataset

import vlprompt
from tests.helpers.shapes import JOINT, NAMES, uneven
from vlprompt import VLPromptError
from vlprompt.methods.linear_probe import CLIP_C, GRID


def shots(per_class: int, classes: int = 3, seed: int = 0, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return features around a center for each class, and their labels."""
    centers = torch.randn(classes, JOINT, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(classes).repeat(per_class)
    spread = torch.randn(len(labels), JOINT, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(centers[labels] + noise * spread, dim=-1), labels


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_probabilities_match_scikit_learn(names: list[str]) -> None:
    features, labels = shots(4, len(names))
    method = vlprompt.create_method("linear-probe", uneven(), names)
    method.prepare(TensorDataset(features, labels), None)
    assert method.inverse_strength.item() == pytest.approx(0.316, abs=1e-3)
    expected = LogisticRegression(C=CLIP_C, max_iter=1000).fit(features.numpy(), labels.numpy())
    new, _ = shots(5, len(names), seed=1)
    found = method(new).logits.softmax(-1)
    assert numpy.allclose(found.numpy(), expected.predict_proba(new.numpy()), atol=1e-5)
    assert method.trainable == len(names) * (JOINT + 1)
    assert not list(method.parameters())


def test_regularization_is_selected_on_validation_images() -> None:
    features, labels = shots(2, noise=2.5)
    val_features, val_labels = shots(6, seed=1, noise=2.5)
    method = vlprompt.create_method("linear-probe", uneven(), NAMES)
    method.prepare(TensorDataset(features, labels), TensorDataset(val_features, val_labels))
    quality = {}
    for c in GRID:
        probe = LogisticRegression(C=c, max_iter=1000).fit(features.numpy(), labels.numpy())
        true = probe.predict_proba(val_features.numpy())[range(len(val_labels)), val_labels]
        right = int((probe.predict(val_features.numpy()) == val_labels.numpy()).sum())
        quality[c] = (right, numpy.log(true).mean())
    best = max(quality, key=lambda c: quality[c])
    assert method.inverse_strength.item() == pytest.approx(best)
    assert best != pytest.approx(CLIP_C)


def test_class_without_shots_is_never_predicted() -> None:
    features, labels = shots(3)
    kept = labels != 1
    method = vlprompt.create_method("linear-probe", uneven(), NAMES)
    method.prepare(TensorDataset(features[kept], labels[kept]), TensorDataset(features, labels))
    probabilities = method(features).logits.softmax(-1)
    assert (probabilities[:, 1] == 0).all()
    assert (probabilities[kept].argmax(-1) == labels[kept]).all()


def test_single_class_is_always_predicted() -> None:
    features, labels = shots(3, classes=1)
    method = vlprompt.create_method("linear-probe", uneven(), ["dog"])
    method.prepare(TensorDataset(features, labels), None)
    assert (method(features).logits.softmax(-1) == 1).all()


def test_new_classes_are_rejected() -> None:
    with pytest.raises(VLPromptError, match="cannot name new ones"):
        vlprompt.create_method("linear-probe", uneven(), NAMES).set_class_names(["cat"])
