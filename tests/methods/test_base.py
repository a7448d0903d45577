"""Interface of every registered method."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import vlprompt
from tests.helpers.golden import backbone as recorded
from vlprompt import METHODS, Backbone, Method, VLPromptError

NAMES = ["red_apple", "dog", "forget me not"]


@pytest.fixture(scope="module")
def backbone(weights: Path) -> Backbone:
    return vlprompt.load_backbone(weights, device="cpu")


@pytest.fixture(params=vlprompt.list_methods())
def method(request: pytest.FixtureRequest, backbone: Backbone) -> Method[Any]:
    torch.manual_seed(0)
    return vlprompt.create_method(request.param, backbone, NAMES)


def test_parameters_exclude_the_backbone(method: Method[Any]) -> None:
    learned = dict(method.named_parameters())
    assert all(parameter.requires_grad for parameter in learned.values())
    if type(method).trainable is Method.trainable:
        assert method.trainable == sum(parameter.numel() for parameter in learned.values())
    frozen = {parameter.data_ptr() for parameter in method.backbone.model.parameters()}
    assert not any(value.data_ptr() in frozen for value in method.state_dict().values())
    assert not any(parameter.requires_grad for parameter in method.backbone.model.parameters())


def test_prediction_shapes(method: Method[Any]) -> None:
    images, labels = torch.randn(5, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1])
    method.prepare(TensorDataset(images, labels), None)
    prediction = method(images)
    assert prediction.logits.shape == (5, 3)
    assert prediction.image_features.shape == (5, 32)
    assert prediction.text_features.shape == ((5, 3, 32) if method.instance_conditional else (3, 32))
    for features in (prediction.image_features, prediction.text_features):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(features.shape[:-1]))
    if not method.class_bound:  # a cache or a probe changes logits
        cosines = (prediction.image_features[:, None] * prediction.text_features).sum(-1)
        torch.testing.assert_close(prediction.logits, method.backbone.logit_scale.exp() * cosines)
    torch.testing.assert_close(method(images, method.class_features()).logits, prediction.logits)
    terms = method.loss(prediction, labels)
    assert terms.total is terms["total"]
    if terms.total.requires_grad:
        method.backward(terms)
        assert all(parameter.grad is not None for parameter in method.parameters())


def test_new_classes_require_only_names(method: Method[Any]) -> None:
    if method.class_bound:
        with pytest.raises(VLPromptError, match="cannot name new ones"):
            method.set_class_names(["cat", *NAMES])
        return
    images = torch.randn(2, 3, 32, 32)
    before = method(images).logits
    method.set_class_names(["cat", *NAMES])
    after = method(images).logits
    assert after.shape == (2, 4)
    torch.testing.assert_close(after[:, 1:], before)
    method.set_class_names(NAMES)
    torch.testing.assert_close(method(images).logits, before)


def test_frozen_features_match_images(method: Method[Any]) -> None:
    images = torch.randn(2, 3, 32, 32)
    features = method.backbone.encode_image(images)
    if method.adapts_images:
        with pytest.raises(VLPromptError, match="requires images, got frozen features"):
            method(features)
    else:
        torch.testing.assert_close(method(features).logits, method(images).logits)


def test_invalid_class_names(backbone: Backbone) -> None:
    for names in ([], ["dog", " "]):
        with pytest.raises(VLPromptError, match="`class_names` is empty or holds an empty name"):
            vlprompt.create_method("coop", backbone, names)


def test_invalid_options(backbone: Backbone) -> None:
    with pytest.raises(VLPromptError, match="method 'coop' has no option 'nctx'; did you mean 'n_ctx'"):
        vlprompt.create_method("coop", backbone, NAMES, nctx=4)
    with pytest.raises(VLPromptError, match=r"method.n_ctx: must be at least 1, got 0"):
        vlprompt.create_method("coop", backbone, NAMES, n_ctx=0)
    with pytest.raises(VLPromptError, match="unknown method 'copo'; did you mean 'coop'"):
        vlprompt.create_method("copo", backbone, NAMES)


def test_registered_name_becomes_the_method_name() -> None:
    assert all(METHODS.get(name).name == name for name in vlprompt.list_methods())


def test_ctx_init_initializes_the_context(backbone: Backbone) -> None:
    method = vlprompt.create_method("coop", backbone, NAMES, ctx_init="a photo of a")
    assert method.text_context.shape == (4, 64)
    torch.testing.assert_close(
        method.text_features(), vlprompt.create_method("zero-shot", backbone, NAMES).text_features()
    )


def test_class_specific_contexts(backbone: Backbone) -> None:
    method = vlprompt.create_method("coop", backbone, NAMES, n_ctx=2, class_specific=True)
    assert method.text_context.shape == (3, 2, 64)
    assert not torch.equal(method.text_context[0], method.text_context[1])
    with pytest.raises(VLPromptError, match="cannot name new ones"):
        method.set_class_names(["cat"])


def test_dapt_without_one_tower(backbone: Backbone) -> None:
    text = vlprompt.create_method("dapt", backbone, NAMES, n_visual=0)
    assert [name for name, _ in text.named_parameters()] == ["text_context"]
    assert not text.adapts_images
    visual = vlprompt.create_method("dapt", backbone, NAMES, n_text=0)
    assert [name for name, _ in visual.named_parameters()] == ["visual_context"]
    torch.testing.assert_close(visual.text_features(), visual.template_features)
    with pytest.raises(VLPromptError, match="learns nothing"):
        vlprompt.create_method("dapt", backbone, NAMES, n_text=0, n_visual=0)


def test_dapt_initializes_from_available_words(backbone: Backbone) -> None:
    words = backbone.text.words("a photo of a")
    few = vlprompt.create_method("dapt", backbone, NAMES, n_text=2, ctx_init="a photo of a")
    many = vlprompt.create_method("dapt", backbone, NAMES, n_text=6, ctx_init="a photo of a")
    torch.testing.assert_close(few.text_context, words[:2])
    torch.testing.assert_close(many.text_context[:4], words)
    assert many.text_context[4:].abs().max() < 0.2


def test_dapt_with_one_class_has_no_dispersion(backbone: Backbone) -> None:
    method = vlprompt.create_method("dapt", backbone, ["dog"])
    terms = method.loss(method(torch.randn(2, 3, 32, 32)), torch.tensor([0, 0]))
    assert terms["inter_dispersion"] == 0


def test_resnet_error_lists_supported_methods() -> None:
    resnet = recorded("clip_rn.safetensors")
    works = r"use one of cocoop, coop, e2mim, kgcoop, linear-probe, prograd, tip-adapter, tip-adapter-f, zero-shot$"
    with pytest.raises(VLPromptError, match=rf"ModifiedResNet.*does not support prompts; {works}"):
        vlprompt.create_method("maple", resnet, NAMES)
    with pytest.raises(VLPromptError, match=rf"set method.n_visual=0 \(text prompts alone; .*\), or {works}"):
        vlprompt.create_method("dapt", resnet, NAMES)
    assert vlprompt.create_method("dapt", resnet, NAMES, n_visual=0).trainable == 16 * resnet.text.width


def test_dapt_with_text_prompts_alone_learns_nothing_from_prototypes(backbone: Backbone) -> None:
    gradients = []
    for beta_visual in (0.0, 10.0):
        torch.manual_seed(0)
        method = vlprompt.create_method("dapt", backbone, NAMES, n_visual=0, n_text=2, beta_visual=beta_visual)
        terms = method.loss(method(torch.ones(2, 3, 32, 32)), torch.tensor([0, 1]))
        assert not terms["intra_dispersion"].requires_grad
        method.backward(terms)
        gradients.append(method.text_context.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "options",
    [
        {"template": "a photo."},
        {"template": "a {} {}."},
        {"template": "a {name} {}."},
        {"template": ["a {}.", "a photo."]},
        {"template": []},
        {"templates": ["a photo."]},
    ],
)
def test_template_without_placeholder_is_rejected(backbone: Backbone, options: dict[str, Any]) -> None:
    with pytest.raises(VLPromptError, match=r"^method\.templates?: a template must contain {} exactly once"):
        vlprompt.create_method("promptsrc", backbone, NAMES, **options)
