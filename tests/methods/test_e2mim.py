"""E2MIM term by term, since it has no recorded cases."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import TensorDataset

import vlprompt
from tests.helpers.shapes import JOINT, NAMES, uneven
from vlprompt import Method, Prediction
from vlprompt.config.schema import parse_config
from vlprompt.experiments.run import run_experiment
from vlprompt.methods.mutual_information import CRITICS, ESTIMATORS
from vlprompt.runs.record import RunRecord

SHOTS = 4
LABELS = torch.arange(len(NAMES)).repeat_interleave(SHOTS)


def shots(noise: float = 0.3, per_class: int = SHOTS) -> tuple[Tensor, Tensor]:
    """Return unit features around a center for each class, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(NAMES)).repeat_interleave(per_class)
    centers = torch.randn(len(NAMES), JOINT, generator=generator)
    features = centers[labels] + noise * math.sqrt(JOINT) * torch.randn(len(labels), JOINT, generator=generator)
    return F.normalize(features, dim=-1), labels


def e2mim(per_class: int = SHOTS, **options: Any) -> Method[Any]:
    torch.manual_seed(0)
    method = vlprompt.create_method("e2mim", uneven(), NAMES, **options)
    method.prepare(TensorDataset(*shots(per_class=per_class)), None)
    return method


def predicted(method: Method[Any], index: Tensor) -> tuple[Prediction, Tensor]:
    """Return the prediction and labels of some shots, as the training loop passes them to the loss."""
    features, labels = (method.shots, method.shot_labels) if len(method.shots) else shots()
    prediction = method(features[index])
    prediction.extras["index"] = index
    return prediction, labels[index]


def test_loss_is_the_weighted_sum_of_terms() -> None:
    method = e2mim(lambda_mi=3.0, lambda_aug=0.25)
    terms = method.loss(*predicted(method, torch.tensor([0, 5, 9])))
    assert list(terms) == ["total", "cross_entropy", "augmentation", "mutual_information"]
    expected = terms["cross_entropy"] + 3 * terms["mutual_information"] + 0.25 * terms["augmentation"]
    torch.testing.assert_close(terms.total, expected)
    assert -math.log(3) <= terms["mutual_information"] < 0


@pytest.mark.parametrize(("estimator", "critic"), list(product(ESTIMATORS, CRITICS)))
def test_context_and_critic_receive_gradients(estimator: str, critic: str) -> None:
    method = e2mim(estimator=estimator, critic=critic)
    prediction, labels = predicted(method, torch.tensor([0, 5, 9]))
    terms = method.loss(prediction, labels)
    for name in ("mutual_information", "augmentation"):
        method.zero_grad()
        terms[name].backward(retain_graph=True)
        gradients = {key: parameter.grad for key, parameter in method.named_parameters()}
        assert {key.split(".")[0] for key in gradients} == {"text_context", "critic"}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        assert gradients["text_context"].norm() > 0  # type: ignore[union-attr]
        assert max(gradients[key].norm() for key in gradients if "critic" in key) > 0  # type: ignore[union-attr]


def test_training_increases_mutual_information() -> None:
    method = e2mim(lambda_aug=0, critic="bilinear", ctx_init=None)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
    seen = []
    for _ in range(15):
        terms = method.loss(*predicted(method, torch.tensor([0, 5, 9])))
        seen.append(-terms["mutual_information"].item())
        optimizer.zero_grad()
        method.backward(terms)
        optimizer.step()
    assert seen[0] < 0.5 < seen[-1] <= math.log(3)


def test_virtual_images_mix_other_shots_of_their_class() -> None:
    method = e2mim()
    index = torch.tensor([0, 1, 2, 5])  # three of the four shots of class 0, one of class 1, none of class 2
    there, virtual = method.virtual_images(*predicted(method, index))
    assert there.tolist() == [True, True, False]
    torch.testing.assert_close(virtual[0], method.shots[3])
    others = method.shots[[4, 6, 7]]
    weights = torch.linalg.lstsq(others.T, virtual[1][:, None]).solution[:, 0]
    assert (weights > 0).all()
    torch.testing.assert_close(weights @ others, virtual[1])
    torch.testing.assert_close(virtual.norm(dim=1), torch.tensor([1.0, 1, 0]))


def test_alpha_controls_mixing() -> None:
    def nearest(alpha: float) -> Tensor:
        method = e2mim(alpha=alpha)
        prediction = predicted(method, torch.tensor([0, 4, 8]))
        drawn = torch.stack([method.virtual_images(*prediction)[1] for _ in range(30)])
        assert drawn.isfinite().all()
        return (drawn @ method.shots.T).amax(-1)

    assert nearest(1e-4).median() > 0.999  # one shot alone
    assert nearest(100.0).max() < 0.99


def test_nearest_shot_is_excluded_without_an_index() -> None:
    method = e2mim()
    index = torch.tensor([2, 6, 7, 11])
    prediction, labels = predicted(method, index)
    prediction.image_features = F.normalize(prediction.image_features + 0.01, dim=-1)  # another view of the shot
    del prediction.extras["index"]
    assert method._in_batch(prediction, labels).tolist() == index.tolist()


def test_gate_opens_for_images_that_match_their_class() -> None:
    method = e2mim(gate_max=0.8)
    text = F.normalize(torch.randn(3, JOINT), dim=-1)
    fitting, foreign = F.normalize(text[[0]] + 0.5 * text[[2]], dim=-1), -text[[0]]
    first, others = torch.tensor([True, False, False]), torch.zeros(2, JOINT)

    def explored(image: Tensor) -> Tensor:
        return method.explored_views(text, first, torch.cat([image, others]))

    opened, closed = explored(fitting), explored(foreign)
    assert torch.equal(opened[1:], text[1:])
    moved = [(view[0] - text[0]).norm().item() for view in (opened, closed)]
    assert moved[0] > 0.1 > 0.001 > moved[1]
    torch.testing.assert_close(explored(text[[0]]), text)


def gain(method: Method[Any], *, honest: bool) -> float:
    """Return the mean decrease of the cross-entropy by explored views, over many batches."""
    drawn = torch.Generator().manual_seed(1)
    total = 0.0
    for _ in range(60):
        index = torch.randperm(len(method.shots), generator=drawn)[:6]
        prediction, labels = predicted(method, index)
        if not honest:  # pretend that the batch holds other images
            prediction.extras["index"] = index[:0]
        text = prediction.text_features
        views = method.explored_views(text, *method.virtual_images(prediction, labels))
        scores = [method.classify(prediction.image_features, view).logits for view in (text, views)]
        total += sum(sign * F.cross_entropy(score, labels).item() for sign, score in zip((1, -1), scores, strict=True))
    return total / 60


@torch.no_grad()
def test_uninformative_images_give_no_gain() -> None:
    method = e2mim(gate_max=1.0)
    method.shots = F.normalize(torch.randn(30, JOINT, generator=torch.Generator().manual_seed(2)), dim=-1)
    method.shot_labels = torch.arange(3).repeat(10)
    assert gain(method, honest=True) < 0
    assert gain(method, honest=False) > 0.1  # the effect of a leak
    informed = e2mim(per_class=10, gate_max=1.0)
    assert gain(informed, honest=True) > 0.1


def test_without_prepare_there_are_no_virtual_images() -> None:
    method = vlprompt.create_method("e2mim", uneven(), NAMES)
    terms = method.loss(*predicted(method, torch.tensor([0, 5])))
    torch.testing.assert_close(terms["augmentation"], 2 * terms["cross_entropy"])


def test_single_shot_has_no_virtual_images() -> None:
    method = e2mim(per_class=1)
    prediction, labels = predicted(method, torch.tensor([0, 2]))
    there, virtual = method.virtual_images(prediction, labels)
    assert not there.any() and not virtual.any()
    terms = method.loss(prediction, labels)
    torch.testing.assert_close(terms["augmentation"], 2 * terms["cross_entropy"])
    method.backward(terms)
    assert method.text_context.grad.norm() > 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_single_class_has_no_mutual_information(estimator: str) -> None:
    method = vlprompt.create_method("e2mim", uneven(), ["dog"], estimator=estimator)
    method.prepare(TensorDataset(shots()[0][:4], torch.zeros(4, dtype=torch.int64)), None)
    terms = method.loss(*predicted(method, torch.tensor([0, 1])))
    assert terms.total.isfinite()
    assert "mutual_information" not in terms


def test_ensemble_only_in_evaluation() -> None:
    soft, method = e2mim(r=0.0), e2mim(r=0.25)
    torch.testing.assert_close(method.text_features(), soft.text_features())
    soft.eval()
    method.eval()
    expected = F.normalize(0.75 * soft.text_features() + 0.25 * method.template_features, dim=-1)
    torch.testing.assert_close(method.text_features(), expected)
    method.set_class_names(["cat", *NAMES])
    torch.testing.assert_close(method.text_features()[1:], expected)
    hand = e2mim(r=1.0).eval()
    torch.testing.assert_close(hand.text_features(), hand.template_features)


def test_second_view_averages_all_templates() -> None:
    alone = e2mim(templates=[], template="an icon of a {}.")
    frozen = vlprompt.create_method("zero-shot", uneven(), NAMES, template="an icon of a {}.")
    torch.testing.assert_close(alone.template_features, frozen.text_features())
    two = e2mim(templates=["a {}."], template="an icon of a {}.")
    frozen = vlprompt.create_method("zero-shot", uneven(), NAMES, template=["an icon of a {}.", "a {}."])
    torch.testing.assert_close(two.template_features, frozen.text_features())


def test_state_dict_excludes_shots() -> None:
    assert e2mim().state_dict().keys() == {"text_context", "critic.log_scale"}
    assert e2mim(lambda_mi=0, lambda_aug=0).state_dict().keys() == {"text_context"}
    assert e2mim(lambda_mi=0, gate_max=0).state_dict().keys() == {"text_context"}


def tuned(name: str, folder: Path, weights: Path, pictures: Path, lr: float = 0.5, **options: Any) -> RunRecord:
    config = parse_config(
        {
            "method": {"name": name, "n_ctx": 2, **options},
            "backbone": {"source": str(weights)},
            "data": {"source": str(pictures), "shots": 4, "views": 3},
            "optim": {"epochs": 4, "batch_size": 5, "lr": lr},
        }
    )
    return run_experiment(config, folder)


def test_zero_weights_are_exactly_coop(weights: Path, pictures: Path, tmp_path: Path) -> None:
    none = {"lambda_mi": 0, "lambda_aug": 0, "r": 0}
    ours = tuned("e2mim", tmp_path / "ours", weights, pictures, **none)
    theirs = tuned("coop", tmp_path / "coop", weights, pictures)
    assert [epoch.losses["total"] for epoch in ours.history] == [epoch.losses["total"] for epoch in theirs.history]
    assert ours.metrics == theirs.metrics
    contexts = [load_file(tmp_path / run / "prompts.safetensors")["text_context"] for run in ("ours", "coop")]
    assert torch.equal(*contexts)


def test_run_lowers_the_loss_and_can_be_reloaded(weights: Path, pictures: Path, tmp_path: Path) -> None:
    record = tuned("e2mim", tmp_path / "run", weights, pictures, lr=5e-4)
    assert record.history[-1].losses["total"] < record.history[0].losses["total"] - 0.05
    assert vlprompt.evaluate(tmp_path / "run", device="cpu")["test"] == record.metrics["test"]
