"""CLIP-LoRA's updates. The towers' side is tested in tests/backbones/test_low_rank.py."""

import math

import open_clip
import pytest
import torch
from torch.testing import assert_close

import vlprompt
from tests.helpers.golden import backbone as recorded
from tests.helpers.shapes import NAMES, TEXT_DEPTH, TEXT_WIDTH, VISUAL_DEPTH, VISUAL_WIDTH, batch, losses, uneven
from vlprompt import VLPromptError


def test_initial_features_match_the_frozen_towers() -> None:
    method = vlprompt.create_method("clip-lora", uneven(), NAMES)
    assert {name: tuple(value.shape) for name, value in method.named_parameters()} == {
        "text_down": (TEXT_DEPTH, 3, 2, TEXT_WIDTH),
        "text_up": (TEXT_DEPTH, 3, TEXT_WIDTH, 2),
        "visual_down": (VISUAL_DEPTH, 3, 2, VISUAL_WIDTH),
        "visual_up": (VISUAL_DEPTH, 3, VISUAL_WIDTH, 2),
    }
    assert 0.9 < method.text_down.abs().max() * math.sqrt(TEXT_WIDTH) <= 1  # as a linear layer is initialized
    zero_shot = vlprompt.create_method("zero-shot", uneven(), NAMES)
    assert_close(method(batch()[0]).logits, zero_shot(batch()[0]).logits, atol=1e-4, rtol=0)


def test_scale_is_alpha_over_sqrt_rank() -> None:
    method = vlprompt.create_method("clip-lora", uneven(), NAMES, rank=4, alpha=3)
    adapters = method.adapters()
    assert adapters.text is adapters.visual is None
    assert adapters.text_updates is not None and adapters.visual_updates is not None
    assert (adapters.text_updates.scale, adapters.visual_updates.scale) == (1.5, 1.5)


def test_dropout_only_in_training() -> None:
    method = vlprompt.create_method("clip-lora", uneven(), NAMES)
    torch.nn.init.normal_(method.text_up)
    torch.nn.init.normal_(method.visual_up)
    images = batch()[0]
    for part in ("image_features", "text_features"):
        assert not torch.equal(getattr(method(images), part), getattr(method(images), part))
    method.eval()
    assert torch.equal(method(images).logits, method(images).logits)
    bare = vlprompt.create_method("clip-lora", uneven(), NAMES, dropout=0)
    bare.load_prompts(method.state_dict())
    assert_close(bare(images).logits, method(images).logits)


def test_template_ensemble_uses_updated_features() -> None:
    templates = ["a photo of a {}.", "itap of my {}."]
    methods = [vlprompt.create_method("clip-lora", uneven(), NAMES, template=t).eval() for t in (*templates, templates)]
    torch.nn.init.normal_(methods[0].text_up)
    for method in methods[1:]:
        method.load_prompts(methods[0].state_dict())
    one, other, both = (method.text_features() for method in methods)
    assert not torch.allclose(one, uneven().template_features(templates[0], methods[0].class_names), atol=1e-2)
    assert_close(both, torch.nn.functional.normalize(one + other, dim=-1))


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("clip-lora", uneven(), NAMES))
    assert seen[-1] < 0.5 * seen[0]


def test_every_projection_receives_gradients() -> None:
    method = vlprompt.create_method("clip-lora", uneven(), NAMES)
    images, labels = batch()
    method.backward(method.loss(method(images), labels))
    for up in (method.text_up, method.visual_up):
        assert up.grad is not None
        assert (up.grad.flatten(2).norm(dim=2) > 0).all()


def test_frozen_features_are_rejected() -> None:
    method = vlprompt.create_method("clip-lora", uneven(), NAMES)
    with pytest.raises(VLPromptError, match="adapts the image tower and requires images, got frozen features"):
        method(torch.randn(2, uneven().embed_dim))


def test_other_towers_are_rejected() -> None:
    with pytest.raises(VLPromptError, match="ModifiedResNet"):
        vlprompt.create_method("clip-lora", recorded("clip_rn.safetensors"), NAMES)
    timm = open_clip.CLIP(
        48,
        {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "", "image_size": 32},
        {"width": 64, "layers": 1, "heads": 1},
    )
    with pytest.raises(VLPromptError, match=r"'clip-lora' requires CLIP's own image tower, got VisionTransformer"):
        vlprompt.create_method("clip-lora", vlprompt.load_backbone(timm, device="cpu"), NAMES)
