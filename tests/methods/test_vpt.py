"""VPT beyond its recorded cases."""

import pytest
import torch

import vlprompt
from tests.helpers.golden import backbone as recorded
from tests.helpers.shapes import NAMES, TEXT_DEPTH, VISUAL_DEPTH, VISUAL_WIDTH, batch, losses, uneven
from vlprompt import VLPromptError


def test_prompt_shapes() -> None:
    method = vlprompt.create_method("vpt", uneven(), NAMES)
    assert method.visual_context.shape == (8, VISUAL_WIDTH)
    assert method.visual_deep.shape == (VISUAL_DEPTH - 1, 8, VISUAL_WIDTH)
    shallow = vlprompt.create_method("vpt", uneven(), NAMES, n_visual=3, depth=1)
    assert {name: tuple(value.shape) for name, value in shallow.named_parameters()} == {
        "visual_context": (3, VISUAL_WIDTH)
    }


def test_text_features_are_those_of_the_template() -> None:
    templates = ["a photo of a {}.", "a drawing of a {}."]
    method = vlprompt.create_method("vpt", uneven(), NAMES, template=templates)
    torch.testing.assert_close(method.text_features(), uneven().template_features(templates, method.class_names))


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("vpt", uneven(), NAMES))
    assert seen[-1] < 0.9 * seen[0]


def test_prompts_of_every_layer_matter() -> None:
    method = vlprompt.create_method("vpt", uneven(), NAMES, n_visual=2)
    images, labels = batch()
    method.backward(method.loss(method(images), labels))
    assert method.visual_deep.grad is not None
    assert (method.visual_deep.grad.flatten(1).norm(dim=1) > 0).all()


def test_depth_above_the_towers_is_rejected() -> None:
    depth = VISUAL_DEPTH + 1
    assert depth <= TEXT_DEPTH  # the text tower has that many
    with pytest.raises(VLPromptError, match=f"depth must be at most {VISUAL_DEPTH}, .* got {depth}"):
        vlprompt.create_method("vpt", uneven(), NAMES, depth=depth)


def test_resnet_is_rejected() -> None:
    with pytest.raises(
        VLPromptError, match=r"'vpt' .* adapts the image tower, .*ModifiedResNet.* does not support prompts"
    ):
        vlprompt.create_method("vpt", recorded("clip_rn.safetensors"), NAMES)
