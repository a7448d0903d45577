"""VPT beyond its recorded cases."""

import pytest
import torch

import vlprompt
from tests.helpers.golden import backbone as recorded
from tests.helpers.shapes import NAMES, TEXT_DEPTH, VISUAL_DEPTH, VISUAL_WIDTH, batch, losses, uneven
from vlprompt import VLPromptError


def test_prompts_have_the_image_towers_shape() -> None:
    method = vlprompt.create_method("vpt", uneven(), NAMES)
    assert method.visual_context.shape == (8, VISUAL_WIDTH)
    assert method.visual_deep.shape == (VISUAL_DEPTH - 1, 8, VISUAL_WIDTH)
    shallow = vlprompt.create_method("vpt", uneven(), NAMES, n_visual=3, depth=1)
    assert {name: tuple(value.shape) for name, value in shallow.named_parameters()} == {
        "visual_context": (3, VISUAL_WIDTH)
    }


def test_text_is_the_template() -> None:
    templates = ["a photo of a {}.", "a drawing of a {}."]
    method = vlprompt.create_method("vpt", uneven(), NAMES, template=templates)
    torch.testing.assert_close(method.text_features(), uneven().template_features(templates, method.class_names))


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("vpt", uneven(), NAMES))
    assert seen[-1] < 0.9 * seen[0]


def test_every_layers_prompts_count() -> None:
    method = vlprompt.create_method("vpt", uneven(), NAMES, n_visual=2)
    images, labels = batch()
    method.backward(method.loss(method(images), labels))
    assert method.visual_deep.grad is not None
    assert (method.visual_deep.grad.flatten(1).norm(dim=1) > 0).all()


def test_a_depth_over_the_towers_is_an_error() -> None:
    depth = VISUAL_DEPTH + 1
    assert depth <= TEXT_DEPTH  # the text tower has that many
    with pytest.raises(VLPromptError, match=f"depth={depth}: the tower has {VISUAL_DEPTH} layers"):
        vlprompt.create_method("vpt", uneven(), NAMES, depth=depth)


def test_a_resnet_is_an_error() -> None:
    with pytest.raises(VLPromptError, match=r"'vpt' .* adapts the image tower, .*ModifiedResNet.* takes no prompts"):
        vlprompt.create_method("vpt", recorded("clip_rn.safetensors"), NAMES)
