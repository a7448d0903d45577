"""Features of each model family, with random weights, against open_clip's encoders.

Settings are taken from open_clip's configurations, at small sizes.
"""

from dataclasses import dataclass, field
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from vlprompt import load_backbone
from vlprompt.backbones.backbone import Backbone
from vlprompt.backbones.sources.load import load_model
from vlprompt.backbones.tokenizer import Tokenizer, Vocabulary
from vlprompt.errors import VLPromptError
from vlprompt.prompts import TextPrompts, VisualPrompts

VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 128, "layers": 2}
RESNET: dict[str, Any] = {"image_size": 64, "layers": (1, 1, 1, 1), "width": 8}
TEXT: dict[str, Any] = {"width": 64, "heads": 2, "layers": 2, "context_length": 24}
SIGLIP_TEXT = TEXT | {
    "vocab_size": 300, "no_causal_mask": True, "pool_type": "last", "proj_bias": True,
    "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
}  # fmt: skip
TEXTS = ["a photo of a cat.", "a photo of a hot air balloon."]


@dataclass(frozen=True)
class Family:
    """A small open_clip configuration."""

    vision: dict[str, Any] = field(default_factory=lambda: VIT)
    text: dict[str, Any] = field(default_factory=lambda: TEXT)
    quick_gelu: bool = False
    custom_text: bool = False
    visual_prompts: bool = True
    embed_dim: int = 48
    options: dict[str, Any] = field(default_factory=dict)


def timm(name: str, size: int, **settings: Any) -> dict[str, Any]:
    return {"image_size": size, "timm_model_name": name, "timm_pool": "", "timm_proj": "linear"} | settings


FAMILIES = {
    "ViT": Family(),
    "ViT, QuickGELU": Family(quick_gelu=True),
    "ViT, layer scale": Family(VIT | {"ls_init_value": 0.1}, TEXT | {"ls_init_value": 0.1}),
    "ViT, heads 80 wide": Family(VIT | {"width": 160, "head_width": 80, "mlp_ratio": 4.3637}),
    "ViT, average pooling": Family(VIT | {"pool_type": "avg"}),
    "ViT, query-key norm": Family(VIT | {"qk_norm": True}, TEXT | {"qk_norm": True}),
    "ViT, inner norms": Family(
        VIT | {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
        TEXT | {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
    ),
    "CLIPA": Family(
        VIT | {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        TEXT | {"vocab_size": 300, "pool_type": "last", "no_causal_mask": True},
    ),
    "ModifiedResNet": Family(RESNET, quick_gelu=True, visual_prompts=False),
    "text read at its eos": Family(
        text=TEXT | {"vocab_size": 300, "pool_type": "eos", "eos_id": 1}, custom_text=True
    ),
    "text read at its first token": Family(
        text=TEXT | {"pool_type": "first", "no_causal_mask": True}, custom_text=True
    ),
    "causal text read at its last place": Family(text=TEXT | {"pool_type": "last"}, custom_text=True),
    "MobileCLIP text": Family(text=TEXT | {"no_causal_mask": True}, custom_text=True),
    "text without projection": Family(text=TEXT | {"proj_type": "none"}, custom_text=True, embed_dim=64),
    "timm ViT": Family(timm("test_vit", 160), custom_text=True),
    "timm ViT, average pooling": Family(timm("test_vit", 160, timm_pool="avg")),
    "timm ViT, layer scale": Family(timm("test_vit2", 160)),
    "timm ViT, relative positions": Family(timm("test_vit_relpos", 160), visual_prompts=False),
    "SigLIP": Family(
        timm("test_vit3", 160, timm_pool="map", timm_proj="none"), SIGLIP_TEXT, custom_text=True, embed_dim=96,
        options={"init_logit_bias": -10.0},
    ),
    "ViTamin": Family(timm("vitamin_small_224", 224)),
    "timm ViT, class token": Family(timm("vit_tiny_patch16_224", 224, timm_pool="token", timm_proj=None)),
    "timm EVA": Family(timm("eva02_tiny_patch14_224", 224, timm_pool="token", timm_proj=None), visual_prompts=False),
    "timm ConvNeXt": Family(timm("test_convnext", 160), visual_prompts=False),
    "timm ConvNeXt, MLP head": Family(timm("test_convnext", 160, timm_proj="mlp"), visual_prompts=False),
    "timm ResNet": Family(timm("test_resnet", 160, timm_pool="avg"), visual_prompts=False),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A family's backbone, inputs, and open_clip's features of them."""

    backbone: Backbone
    family: Family
    images: Tensor
    tokens: Tensor
    image_features: Tensor
    text_features: Tensor


def word_tokenizer(context_length: int) -> Tokenizer:
    """Return a tokenizer like T5's: no start token; eos and padding are 1."""

    def encode(text: str) -> list[int]:
        return [2 + sum(word.encode()) % 290 for word in text.replace(".", " .").split()]

    return Tokenizer(context_length, lambda: Vocabulary(encode, sos=None, eot=1, pad=1))


@pytest.fixture(scope="module", params=FAMILIES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    family = FAMILIES[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        kind = open_clip.CustomTextCLIP if family.custom_text else open_clip.CLIP
        model = kind(
            family.embed_dim, family.vision, family.text, quick_gelu=family.quick_gelu, **family.options
        ).eval()
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.02 * torch.randn_like(value))
        size = family.vision["image_size"]
        images = torch.randn(2, 3, size, size)
    tokenizer = word_tokenizer(family.text["context_length"]) if "vocab_size" in family.text else None
    tokens = load_model(model, tokenizer=tokenizer).tokenizer(TEXTS)
    with torch.no_grad():
        image_features, text_features = model.encode_image(images), model.encode_text(tokens)
    backbone = Backbone(load_model(model, tokenizer=tokenizer), precision="fp32", device=torch.device("cpu"))
    return Case(backbone, family, images, tokens, image_features, text_features)


def assert_close(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours, reference, atol=1e-5 * max(1, float(reference.abs().max())), rtol=0)


@torch.no_grad()
def test_image_features(case: Case) -> None:
    assert_close(case.backbone.encode_image(case.images), case.image_features)


@torch.no_grad()
def test_text_features(case: Case) -> None:
    assert_close(case.backbone.encode_text(case.tokens), case.text_features)
    assert case.backbone.embed_dim == case.text_features.shape[-1]


@torch.no_grad()
def test_context_from_words_matches_the_sentence(case: Case) -> None:
    """Prompts that are the embeddings of words give the same features as the words."""
    text = case.backbone.text
    prompts = TextPrompts(text.words("a photo of a"))
    assert_close(text.encode_prompts(prompts, ["cat", "hot air balloon"]), case.text_features)


@torch.no_grad()
def test_empty_visual_prompts_change_nothing(case: Case) -> None:
    if case.backbone.vision.width is not None:
        prompts = VisualPrompts(torch.zeros(0, case.backbone.vision.width))
        assert_close(case.backbone.vision(case.images, prompts), case.image_features)


def test_visual_prompts_change_features_or_are_rejected(case: Case) -> None:
    vision = case.backbone.vision
    if not case.family.visual_prompts:
        with pytest.raises(VLPromptError, match="does not support visual prompts"):
            vision(case.images, VisualPrompts(torch.zeros(2, 8)))
        return
    assert vision.width is not None
    context = torch.randn(2, vision.width, requires_grad=True)
    deep = torch.randn(1, 2, vision.width, requires_grad=True)
    vision(case.images, VisualPrompts(context, deep)).sum().backward()
    for prompt in (context, deep):
        assert prompt.grad is not None
        assert prompt.grad.abs().sum() > 0


def test_weights_receive_no_gradients(case: Case) -> None:
    assert not any(value.requires_grad for value in case.backbone.model.parameters())


@torch.no_grad()
def test_full_size_model() -> None:
    backbone = load_backbone("ViT-S-32/random", device="cpu")
    reference = backbone.model
    images, tokens = torch.randn(1, 3, 224, 224), backbone.tokenize(TEXTS)
    assert (backbone.image_size, backbone.embed_dim, backbone.text.context_length) == (224, 384, 77)
    assert_close(backbone.encode_image(images), reference.encode_image(images))
    assert_close(backbone.encode_text(tokens), reference.encode_text(tokens))
