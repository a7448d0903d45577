"""Exported graphs of methods and image towers match PyTorch at any batch size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.weights import write_weights
from vlprompt import VLPromptError, create_method, load_backbone
from vlprompt.backbones.backbone import Backbone
from vlprompt.export.deployed import Deployed, trace_method
from vlprompt.methods.base import Prediction
from vlprompt.methods.zero_shot import ZeroShot

pytestmark = pytest.mark.slow

NAMES = ["cat", "dog", "hot air balloon"]
TEXT = {"width": 64, "heads": 2, "layers": 1, "context_length": 16}


def vit(layers: int) -> Callable[[Path], Backbone]:
    """CLIP's towers with few layers, since tracing time grows with depth."""
    return lambda folder: load_backbone(write_weights(folder / "vit.safetensors", layers), device="cpu")


def resnet(folder: Path) -> Backbone:
    return loaded({"image_size": 64, "layers": (1, 1, 1, 1), "width": 8})


def timm_vit(folder: Path) -> Backbone:
    backbone = loaded({"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"})
    trunk: Any = backbone.model.visual.trunk  # type: ignore[union-attr]
    trunk.blocks = trunk.blocks[:2]
    return backbone


def loaded(vision: dict[str, Any]) -> Backbone:
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(48, vision, TEXT)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return load_backbone(model, device="cpu")


def fill_cache(method: Any) -> None:
    keys = nn.functional.normalize(torch.randn(5, method.backbone.embed_dim), dim=-1)
    method._fill(keys, torch.tensor([0, 2, 1, 2, 0]))


def fill_probe(method: Any) -> None:
    method.weight.normal_()
    method.bias[1] = float("-inf")  # a class without shots


def fill_updates(method: Any) -> None:
    nn.init.normal_(method.visual_up)


def as_it_starts(method: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("tower", "name", "fill"),
    [
        (vit(1), "cocoop", as_it_starts),
        (vit(1), "clip-lora", fill_updates),
        (vit(2), "mudpt", as_it_starts),
        (resnet, "tip-adapter", fill_cache),
        (timm_vit, "vpt", as_it_starts),
        (vit(1), "linear-probe", fill_probe),
    ],
    ids=["cocoop", "clip-lora", "mudpt", "ResNet, tip-adapter", "timm ViT, vpt", "linear-probe"],
)
def test_graph_matches_the_method(
    tmp_path: Path, tower: Callable[[Path], Backbone], name: str, fill: Callable[[Any], None]
) -> None:
    backbone, generator = tower(tmp_path), torch.Generator().manual_seed(0)
    method = create_method(name, backbone, NAMES).eval()
    pixels = torch.randn(3, 3, backbone.image_size, backbone.image_size, generator=generator)
    with torch.no_grad():
        fill(method)
        expected = 2 * method(pixels).logits
    assert expected[:, 0].std() > 0.001, "logits that depend on the picture"
    model = trace_method(Deployed(method, temperature=0.5).eval())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        logits, _ = session.run(["logits", "probabilities"], {"pixels": pixels[:count].numpy()})
        np.testing.assert_allclose(logits, expected[:count], atol=2e-5)
    assert backbone.text.chunk_size == "auto", "the method is left as it was"
    made = {name for name, _ in method.named_parameters() if name.startswith(("text_to_", "visual_to_"))}
    assert not made & {weight.name.removeprefix("method.") for weight in model.graph.initializer}


def test_method_with_fixed_batch_size_raises(tmp_path: Path) -> None:
    class Counting(ZeroShot):
        name = "counting"

        def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
            prediction = super().classify(image_features, text_features, **extras)
            prediction.logits = prediction.logits + torch.zeros(len(image_features), 1)
            return prediction

    method = Counting(vit(1)(tmp_path), NAMES, ZeroShot.Options())
    with pytest.raises(VLPromptError, match=r"method 'counting' cannot be exported as a graph by torch .*batch"):
        trace_method(Deployed(method.eval(), 1.0).eval())
