import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.shapes import NAMES, batch, uneven
from vlprompt import create_method
from vlprompt.analysis.dispersion import image_dispersion, modality_gap, text_dispersion
from vlprompt.analysis.tuned_features import Both, Change, ClassFeatures, ImageFeatures, class_means

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def unit(*shape: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def images(before: Tensor, after: Tensor, prototypes: Tensor) -> ImageFeatures:
    guesses = Both(LABELS, LABELS)
    return ImageFeatures(tuple("abcdef"), LABELS, Both(before, after), guesses, prototypes)


def test_text_dispersion_matches_hand_computation() -> None:
    before = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    after = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    found = text_dispersion(ClassFeatures(("a", "b", "c"), before, after))
    root = math.sqrt(2)
    assert found["class_distance"].before == pytest.approx((2 * root + 2) / 3)
    assert found["class_distance"].after == pytest.approx(4 / 3)
    assert found["nearest_class_distance"] == Change(pytest.approx(root), pytest.approx(2 / 3))
    assert found["inter_dispersion"].before == pytest.approx((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert found["inter_dispersion"].after == pytest.approx((1 + 2 * math.exp(-8)) / 3)


def test_the_dispersions_are_terms_of_dapts_loss() -> None:
    method = create_method("dapt", uneven(), NAMES, n_text=2, n_visual=2).eval()
    with torch.no_grad():
        method.prototypes.copy_(unit(3, 48, seed=1))
        prediction = method(batch()[0])
        terms = method.loss(prediction, LABELS)
    classes = ClassFeatures(method.class_names, unit(3, 48, seed=2), prediction.text_features)
    seen = images(unit(6, 48, seed=3), prediction.image_features, method.prototypes)
    assert text_dispersion(classes)["inter_dispersion"].after == pytest.approx(terms["inter_dispersion"].item())
    assert image_dispersion(seen)["intra_dispersion"].after == pytest.approx(terms["intra_dispersion"].item())


def test_image_dispersion_matches_hand_computation() -> None:
    before, prototypes = unit(6, 4, seed=0), unit(3, 4, seed=1)
    found = image_dispersion(images(before, 2 * before, prototypes))
    expected = [(before[i] - prototypes[i % 3]).norm().item() for i in range(6)]
    assert found["prototype_distance"].before == pytest.approx(sum(expected) / 6)
    # The mean of two images is halfway between them.
    apart = sum((before[i] - before[i + 3]).norm().item() / 2 for i in range(3)) / 3
    assert found["own_mean_distance"] == Change(pytest.approx(apart), pytest.approx(2 * apart))


def test_classes_without_shots_or_with_one_image_are_not_counted() -> None:
    before, prototypes = unit(6, 4, seed=0), unit(3, 4, seed=1)
    prototypes[2] = math.nan
    found = image_dispersion(images(before, before, prototypes))
    expected = [(before[i] - prototypes[i % 3]).norm().item() for i in (0, 1, 3, 4)]
    assert found["prototype_distance"] == Change(pytest.approx(sum(expected) / 4), None)
    alone = ImageFeatures(("a", "b"), LABELS[:2], Both(before[:2], before[:2]), Both(LABELS, LABELS), prototypes)
    assert "own_mean_distance" not in image_dispersion(alone)
    assert "intra_dispersion" not in image_dispersion(replace(alone, prototypes=prototypes * math.nan))


def test_class_means() -> None:
    means = class_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 2]), 3)
    assert means[[0, 2]].tolist() == [[2.0], [5.0]]
    assert means[1].isnan().all()


def test_the_gap_is_between_means() -> None:
    text, features = unit(3, 4, seed=0), unit(6, 4, seed=1)
    same = ClassFeatures(("a", "b", "c"), text, text.clone())
    gap = (features.mean(0) - text.mean(0)).norm().item()
    still = images(features, features, unit(3, 4, seed=2))
    assert modality_gap(same, still) == Change(pytest.approx(gap), None)
    assert modality_gap(same, replace(still, features=Both(features, -features))).after == pytest.approx(
        (features.mean(0) + text.mean(0)).norm().item()
    )
    closed = ClassFeatures(same.names, text, features.mean(0).expand(3, 4))
    assert modality_gap(closed, still) == Change(pytest.approx(gap), pytest.approx(0, abs=1e-6))
    assert text_dispersion(same)["class_distance"].after is None


def test_single_class_has_no_text_dispersion() -> None:
    assert text_dispersion(ClassFeatures(("a",), unit(1, 4, seed=0), None)) == {}
