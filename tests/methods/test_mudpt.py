"""MuDPT beyond its recorded cases."""

from typing import Any

import pytest
import torch

import vlprompt
from tests.helpers.golden import backbone as recorded
from tests.helpers.shapes import JOINT, NAMES, TEXT_WIDTH, VISUAL_DEPTH, VISUAL_WIDTH, batch, losses, uneven
from vlprompt import Method, VLPromptError
from vlprompt.methods.mudpt import InjectionModel

LAYERS = VISUAL_DEPTH  # as many as both towers have


def mudpt(**options: Any) -> Method[Any]:
    torch.manual_seed(0)
    return vlprompt.create_method("mudpt", uneven(), NAMES, **options)


@pytest.mark.parametrize("fusion", ["transformer", "linear"])
def test_prompts_have_the_width_of_their_tower(fusion: str) -> None:
    assert len({TEXT_WIDTH, VISUAL_WIDTH, JOINT}) == 3
    method = mudpt(n_ctx=2, fusion=fusion)
    adapters = method.adapters()
    text, visual = adapters.text, adapters.visual
    assert text is not None and visual is not None and text.deep is not None and visual.deep is not None
    every = torch.cat([method.text_context[None], method.text_deep])
    sent = method.text_to_visual(every)
    assert sent.shape == (LAYERS, 2, VISUAL_WIDTH)
    torch.testing.assert_close(visual.context, method.visual_context + sent[0])
    torch.testing.assert_close(visual.deep, method.visual_deep + sent[1:])
    returned = method.visual_to_text(method.visual_deep)
    assert returned.shape == (LAYERS - 1, 2, TEXT_WIDTH)
    torch.testing.assert_close(text.deep, method.text_deep + returned)
    assert text.context is method.text_context


def test_linear_fusion_layers() -> None:
    method = mudpt(n_ctx=2, fusion="linear")
    carried = {name for name, _ in method.named_parameters() if "projection" in name and name.endswith("weight")}
    assert carried == {
        "text_to_visual.context_projection.weight",
        "text_to_visual.deep_projection.weight",
        "visual_to_text.deep_projection.weight",
    }
    sent = method.text_to_visual(torch.cat([method.text_context[None], method.text_deep]))
    shared = method.text_to_visual.deep_projection
    torch.testing.assert_close(sent[2], method.text_deep[1] @ shared.weight.T + shared.bias)


def test_injection_model_processes_layers_separately() -> None:
    torch.manual_seed(0)
    model = InjectionModel(192, 64)
    assert model.block.attn.num_heads == 3
    prompts = torch.randn(4, 3, 192)
    sent = model(prompts)
    torch.testing.assert_close(model(prompts[1:2]), sent[1:2])
    changed = prompts.clone()
    changed[2, 0, 0] += 5
    assert not torch.allclose(model(changed)[2, 2], sent[2, 2])  # prompts of a layer attend to each other
    torch.testing.assert_close(model(changed)[[0, 1, 3]], sent[[0, 1, 3]])


def test_text_to_visual_has_no_learned_visual_prompts() -> None:
    for fusion in ("transformer", "linear"):
        method = mudpt(direction="text-to-visual", fusion=fusion)
        names = {name.split(".")[0] for name, _ in method.named_parameters()}
        assert names == {"text_context", "text_deep", "text_to_visual"}
        text = method.adapters().text
        assert text is not None and text.deep is method.text_deep


@pytest.mark.parametrize("fusion", ["transformer", "linear"])
@pytest.mark.parametrize("direction", ["both", "text-to-visual"])
def test_depth_one_has_no_deep_prompts(fusion: str, direction: str) -> None:
    method = mudpt(depth=1, fusion=fusion, direction=direction)
    adapters = method.adapters()
    text, visual = adapters.text, adapters.visual
    assert text is not None and visual is not None
    assert (text.deep, visual.deep) == (None, None)
    images, labels = batch()
    method.backward(method.loss(method(images), labels))
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert not any("deep" in name or "visual_to_text" in name for name, _ in method.named_parameters())


def test_gradients_flow_between_towers() -> None:
    method = mudpt()
    images, _ = batch()
    method.image_features(images).sum().backward()
    assert method.text_context.grad.norm() > 0
    assert (method.text_deep.grad.flatten(1).norm(dim=1) > 0).all()
    method.zero_grad()
    method.text_features().sum().backward()
    assert (method.visual_deep.grad.flatten(1).norm(dim=1) > 0).all()
    assert method.visual_context.grad is None  # the first layer is fused one way


def test_words_after_the_context_are_dropped() -> None:
    short, exact = mudpt(n_ctx=2), mudpt(n_ctx=2, ctx_init="a photo")
    torch.testing.assert_close(short.text_context, exact.text_context)
    torch.testing.assert_close(short.text_features(), exact.text_features())


@pytest.mark.parametrize("fusion", ["transformer", "linear"])
def test_training_lowers_the_loss(fusion: str) -> None:
    seen = losses(mudpt(fusion=fusion), lr=0.005)
    assert seen[-1] < 0.9 * seen[0]


def test_invalid_options_are_rejected() -> None:
    with pytest.raises(VLPromptError, match=f"depth must be at most {LAYERS}, .* got {LAYERS + 1}"):
        mudpt(depth=LAYERS + 1)
    with pytest.raises(VLPromptError, match=r"method.direction: must be .* got 'visual-to-text'"):
        mudpt(direction="visual-to-text")
    with pytest.raises(VLPromptError, match="adapts the image tower, but that of"):
        vlprompt.create_method("mudpt", recorded("clip_rn.safetensors"), NAMES)
