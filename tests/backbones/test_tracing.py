"""Traced layers against the towers' features and PyTorch's attention weights."""

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from tests.helpers.prompts import TEXT, VISUAL, WORDS, context, walk_text
from tests.helpers.shapes import NAMES, TEXT_DEPTH, VISUAL_DEPTH, batch, uneven
from vlprompt import load_backbone
from vlprompt.backbones.tracing import Step, text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts


def own_weights(block: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Return attention weights (B, H, L, L) of the loaded module."""
    normed = block.ln_1(x)
    weights: Tensor = block.attn(normed, normed, normed, need_weights=True, average_attn_weights=False, attn_mask=mask)[
        1
    ]
    return weights


def leaving(transformer: Any, step: Step, mask: Tensor | None = None) -> Tensor:
    """Return what leaves the last layer of the loaded module."""
    length = step.entering.shape[1]
    out: Tensor = transformer.resblocks[-1](step.entering, attn_mask=None if mask is None else mask[:length, :length])
    return out


@pytest.mark.parametrize("kind", TEXT)
@torch.no_grad()
def test_text_steps_match_tower_features(kind: str) -> None:
    model, tower, prompts = uneven().model, uneven().text, TEXT[kind]
    steps, tokens, _ = walk_text(uneven(), prompts)
    read = tower.read_position(tokens)
    assert len(steps) == TEXT_DEPTH
    features = tower.head(leaving(model.transformer, steps[-1], model.attn_mask)[torch.arange(len(NAMES)), read])
    assert_close(features, tower.encode_prompts(prompts, WORDS), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", TEXT)
@torch.no_grad()
def test_text_attention_weights_match_modules(kind: str) -> None:
    tower, prompts = uneven().text, TEXT[kind]
    module = uneven().model.transformer
    steps, tokens, slots = walk_text(uneven(), prompts)
    read, length = tower.read_position(tokens), steps[0].entering.shape[1]
    mask = uneven().model.attn_mask[:length, :length]
    x = steps[0].entering
    for layer, (step, block) in enumerate(zip(steps, module.resblocks, strict=True)):
        if prompts.deep is not None and 1 <= layer <= len(prompts.deep):
            for row, places in enumerate(slots[:, :length]):
                x[row, places >= 0] = prompts.deep[layer - 1][places[places >= 0]]
        assert_close(step.entering, x, atol=1e-5, rtol=1e-4)
        expected = own_weights(block, x, mask)[torch.arange(len(NAMES)), :, read]
        assert_close(step.weights, expected, atol=1e-6, rtol=1e-4)
        x = block(x, attn_mask=mask)


@torch.no_grad()
def test_text_steps_without_prompts() -> None:
    tower = uneven().text
    tokens = tower.tokenizer(["a photo of a cat.", "tree"])
    last = list(text_steps(tower, tokens, torch.full_like(tokens, -1), None))[-1]
    end = leaving(uneven().model.transformer, last, uneven().model.attn_mask)
    features = tower.head(end[torch.arange(2), tower.read_position(tokens)])
    assert_close(features, tower(tokens), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_text_steps_of_a_bidirectional_tower() -> None:
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1}
    text = {"width": 64, "heads": 2, "layers": 2, "no_causal_mask": True, "pool_type": "last"}
    backbone = load_backbone(open_clip.CLIP(32, image, text), device="cpu")
    prompts = TextPrompts(context(3, 64))
    steps, tokens, _ = walk_text(backbone, prompts)
    read = backbone.text.read_position(tokens)
    features = backbone.text.head(leaving(backbone.model.transformer, steps[-1])[torch.arange(len(NAMES)), read])
    assert_close(features, backbone.text.encode_prompts(prompts, WORDS), atol=1e-5, rtol=1e-4)
    for step, block in zip(steps, backbone.model.transformer.resblocks, strict=True):
        expected = own_weights(block, step.entering, None)[torch.arange(len(NAMES)), :, read]
        assert_close(step.weights, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", VISUAL)
@torch.no_grad()
def test_vision_steps_match_tower_features(kind: str) -> None:
    tower, prompts, images = uneven().vision, VISUAL[kind], batch()[0]
    assert isinstance(tower, ViTTower)
    assert tower.reads_class_token
    steps = list(vision_steps(tower, images, prompts))
    visual = uneven().model.visual
    assert len(steps) == VISUAL_DEPTH
    end = leaving(visual.transformer, steps[-1])
    assert_close(visual.ln_post(end[:, 0]) @ visual.proj, tower(images, prompts), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", VISUAL)
@torch.no_grad()
def test_vision_attention_weights_match_modules(kind: str) -> None:
    """Compare with the loaded modules, layer by layer."""
    visual, prompts, images = uneven().model.visual, VISUAL[kind], batch()[0]
    tower = uneven().vision
    assert isinstance(tower, ViTTower)
    patches = F.conv2d(images, visual.conv1.weight, stride=8).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(images), 1, -1), patches], 1) + visual.positional_embedding
    assert_close(tower.embed(images), x)
    count = x.shape[1]
    if prompts is None:
        x = visual.ln_pre(x)
    elif prompts.position == "append":
        x = visual.ln_pre(torch.cat([x, prompts.context.expand(len(images), -1, -1)], 1))
    else:
        x = visual.ln_pre(x)
        x = torch.cat([x[:, :1], prompts.context.expand(len(images), -1, -1), x[:, 1:]], 1)
    for layer, step in enumerate(vision_steps(tower, images, prompts)):
        if prompts is not None and prompts.deep is not None and 1 <= layer <= len(prompts.deep):
            x = torch.cat([x[:, :count], prompts.deep[layer - 1].expand(len(images), -1, -1)], 1)
        block = visual.transformer.resblocks[layer]
        assert_close(step.entering, x, atol=1e-5, rtol=1e-4)
        assert_close(step.weights, own_weights(block, x, None)[:, :, 0], atol=1e-6, rtol=1e-4)
        x = block(x)


def test_tower_with_mean_pooling() -> None:
    image = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1, "pool_type": "avg"}
    tower = load_backbone(open_clip.CLIP(32, image, {"width": 64, "heads": 1, "layers": 1}), device="cpu").vision
    assert isinstance(tower, ViTTower)
    assert not tower.reads_class_token
