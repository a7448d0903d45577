"""Recorded cases of the official implementations against the public API, within the documented tolerances."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.helpers.golden import NAMES, Case, read_case
from vlprompt.backbones.text import Layout
from vlprompt.methods.base import LossTerms, Method

LOGITS = {"atol": 1e-4, "rtol": 0.0}
LOSS = {"atol": 1e-5, "rtol": 0.0}


@torch.no_grad()
def averaged(method: Method[Any], epochs: int) -> Tensor:
    """Return the weight of each epoch in the average of the prompts, tensor with shape (epochs,)."""
    prompts = method.text_context.view(-1)
    for epoch in range(epochs):
        prompts.zero_()[epoch] = 1
        method.on_epoch_end(epoch + 1)
    return method.text_context_average.view(-1)[:epochs]


def assert_gradients(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    assert (actual - expected).norm() <= 1e-4 * expected.norm()


def test_every_method_has_recorded_cases() -> None:
    assert {read_case(name).method for name in NAMES} >= {"zero-shot", "coop", "dapt"}


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("name", [name for name in NAMES if read_case(name).method != "zero-shot"])
def test_recorded_case(name: str, layout: Layout) -> None:
    case = read_case(name)
    method = case.build(**case.options)
    method.backbone.text.layout = layout
    if "prototypes" in case.recorded:
        shots = torch.utils.data.TensorDataset(case.recorded["shot_images"], case.recorded["shot_labels"])
        method.prepare(shots, None)
        assert_close(method.prototypes, case.recorded["prototypes"], **LOSS)

    prediction = method(case.images)
    terms = method.loss(prediction, case.labels)
    assert_term_gradients(case, method, terms)
    method.backward(terms)

    assert_close(prediction.logits, case.recorded["logits"], **LOGITS)
    for feature in ("image_features", "text_features"):
        if feature in case.recorded:
            assert_close(getattr(prediction, feature), case.recorded[feature], **LOSS)
    if not method.instance_conditional:
        assert_close(method.text_features(), prediction.text_features)
    for key, value in prediction.extras.items():
        assert_close(value, case.recorded[key], **(LOGITS if key.endswith("logits") else LOSS))
    if "gpa_weights" in case.recorded:
        assert_close(averaged(method, len(case.recorded["gpa_weights"])), case.recorded["gpa_weights"], **LOSS)
    if "loss" in case.recorded:
        assert_close(terms.total, case.recorded["loss"], **LOSS)
    for term, value in case.starting("loss").items():
        assert_close(terms[term], value, **LOSS)
    gradients = case.starting("grad.projected") or case.starting("grad")
    assert gradients.keys() == dict(method.named_parameters()).keys()
    for parameter, expected in gradients.items():
        assert_gradients(method.get_parameter(parameter).grad, expected)
    assert_tokens(case, method.backbone.tokenize)


@pytest.mark.parametrize("name", [name for name in NAMES if read_case(name).method == "zero-shot"])
def test_recorded_zero_shot_case(name: str) -> None:
    case = read_case(name)
    template, ensemble = case.options["template"], case.options["ensemble_templates"]
    method = case.build(template=template)
    backbone = method.backbone
    words = [name.replace("_", " ") for name in case.class_names]
    tokens = backbone.tokenize([template.format(word) for word in words])
    assert torch.equal(tokens, case.recorded["tokens"])
    assert_close(backbone.encode_text(tokens), case.recorded["text_features_raw"], **LOSS)
    assert_close(backbone.encode_image(case.images), case.recorded["image_features_raw"], **LOSS)

    prediction = method(case.images)
    assert_close(prediction.image_features, case.recorded["image_features"], **LOSS)
    assert_close(prediction.text_features, case.recorded["text_features"], **LOSS)
    assert_close(prediction.logits, case.recorded["logits"], **LOGITS)

    together = case.build(template=ensemble)(case.images)
    assert_close(together.text_features, case.recorded["ensemble_text_features"], **LOSS)
    assert_close(together.logits, case.recorded["ensemble_logits"], **LOGITS)


def assert_term_gradients(case: Case, method: Method[Any], terms: LossTerms) -> None:
    """Check gradients of single terms, and the cosine between them, if the case records them."""
    found = {}
    for term in terms:
        for parameter, expected in case.starting(f"grad.{term}").items():
            (found[term],) = torch.autograd.grad(terms[term], method.get_parameter(parameter), retain_graph=True)
            assert_gradients(found[term], expected)
    if "cosine" in case.recorded:
        cosine = torch.cosine_similarity(*(gradient.flatten() for gradient in found.values()), dim=0)
        assert_close(cosine, case.recorded["cosine"].float(), **LOSS)


def assert_tokens(case: Case, tokenize: object) -> None:
    """Compare our tokens of placeholders and name, in CoOp's form, with the recorded ones."""
    if "tokens" not in case.recorded:
        return
    context = case.options["ctx_init"] or " ".join(["X"] * case.options["n_ctx"])
    sentences = [f"{context} {name.replace('_', ' ')}." for name in case.class_names]
    assert callable(tokenize)
    assert torch.equal(tokenize(sentences), case.recorded["tokens"])
