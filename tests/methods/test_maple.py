"""MaPLe beyond its recorded cases."""

import pytest
import torch

import vlprompt
from tests.helpers.shapes import NAMES, TEXT_WIDTH, VISUAL_DEPTH, VISUAL_WIDTH, losses, uneven
from vlprompt import VisualPrompts, VLPromptError


def test_projection_shapes() -> None:
    method = vlprompt.create_method("maple", uneven(), NAMES, n_ctx=3)
    assert method.text_deep.shape == (VISUAL_DEPTH - 1, 3, TEXT_WIDTH)  # as many layers as both towers have
    assert len(method.text_to_visual.deep_projections) == VISUAL_DEPTH - 1
    visual = method.adapters().visual
    assert isinstance(visual, VisualPrompts) and visual.deep is not None
    assert visual.context.shape == (3, VISUAL_WIDTH)
    assert visual.deep.shape == (VISUAL_DEPTH - 1, 3, VISUAL_WIDTH)
    second = method.text_to_visual.deep_projections[1]
    torch.testing.assert_close(visual.deep[1], method.text_deep[1] @ second.weight.T + second.bias)


def test_shallow_prompts_have_one_projection() -> None:
    method = vlprompt.create_method("maple", uneven(), NAMES, depth=1)
    assert dict(method.named_parameters()).keys() == {
        "text_context",
        "text_to_visual.context_projection.weight",
        "text_to_visual.context_projection.bias",
    }
    visual = method.adapters().visual
    assert visual is not None and visual.deep is None


def test_image_loss_updates_text_prompts() -> None:
    method = vlprompt.create_method("maple", uneven(), NAMES)
    images = torch.randn(2, 3, 32, 32)
    method.image_features(images).sum().backward()
    assert method.text_context.grad.norm() > 0
    assert (method.text_deep.grad.flatten(1).norm(dim=1) > 0).all()


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("maple", uneven(), NAMES), lr=0.005)
    assert seen[-1] < 0.9 * seen[0]


def test_depth_above_either_tower_is_rejected() -> None:
    with pytest.raises(VLPromptError, match=f"depth must be at most {VISUAL_DEPTH}, .* got {VISUAL_DEPTH + 1}"):
        vlprompt.create_method("maple", uneven(), NAMES, depth=VISUAL_DEPTH + 1)
