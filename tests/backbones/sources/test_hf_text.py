"""open_clip models with text towers from Hugging Face, against open_clip's own."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers.bert import random_encoder, write_vocabulary
from vlprompt import create_method, load_backbone
from vlprompt.backbones.bert import Bert, BertConfig
from vlprompt.backbones.sources import hf_text
from vlprompt.errors import VLPromptError

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 16}
HEADS = [("mean_pooler", "mlp"), ("mean_pooler", "linear"), ("cls_last_hidden_state_pooler", "linear")]


def write_folder(folder: Path, kind: str, pooler: str = "mean_pooler", projection: str = "mlp") -> Any:
    """Write an open_clip folder with a tiny text tower and return open_clip's model of it."""
    encoder = random_encoder(kind)
    encoder.config.save_pretrained(folder / "encoder")
    write_vocabulary(folder)
    text = {"hf_model_name": str(folder / "encoder"), "hf_tokenizer_name": "any", "hf_pooler_type": pooler}
    text |= {"hf_proj_type": projection, "context_length": 24}
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}
    torch.manual_seed(0)
    model: Any = open_clip.CustomTextCLIP(**config | {"text_cfg": text | {"hf_model_pretrained": False}}).eval()
    model.text.transformer.load_state_dict(encoder.state_dict(), strict=False)
    constants = {"text.transformer.embeddings.position_ids": torch.arange(40)[None]}  # in older files
    save_file(model.state_dict() | constants, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return model


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize(("pooler", "projection"), HEADS)
@torch.no_grad()
def test_folders_give_the_features_of_open_clip(kind: str, pooler: str, projection: str, tmp_path: Path) -> None:
    model = write_folder(tmp_path, kind, pooler, projection)
    backbone = load_backbone(f"local-dir:{tmp_path}", device="cpu")
    tokens = backbone.tokenize(["a photo of a dog.", "the big cats", "apple"])
    assert torch.allclose(backbone.encode_text(tokens), model.encode_text(tokens), atol=1e-5)
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(backbone.encode_image(images), model.encode_image(images), atol=1e-5)


@torch.no_grad()
def test_a_module_is_adopted_without_copies(tmp_path: Path) -> None:
    model = write_folder(tmp_path, "bert")
    backbone = load_backbone(f"local-dir:{tmp_path}", device="cpu")
    tokens = backbone.tokenize(["a photo of a dog.", "apple"])
    expected, table = model.encode_text(tokens), model.text.transformer.embeddings.word_embeddings.weight
    with pytest.raises(VLPromptError, match="vocabulary of a Hugging Face text tower is not recorded"):
        load_backbone(model)
    adopted = load_backbone(model, device="cpu", tokenizer=backbone.tokenize)
    assert torch.allclose(adopted.encode_text(tokens), expected, atol=1e-5)
    assert adopted.text.vocabulary.data_ptr() == table.data_ptr()


def test_shallow_prompts_are_learned_and_deep_ones_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, "bert")
    backbone = load_backbone(f"local-dir:{tmp_path}", device="cpu")
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    for name, options in (("coop", {"n_ctx": 3}), ("dapt", {}), ("maple", {"depth": 1, "n_ctx": 2})):
        method = create_method(name, backbone, ["dog", "cat"], **options)
        method.backward(method.loss(method(images), labels))
        assert all(parameter.grad is not None for parameter in method.parameters())
    with pytest.raises(VLPromptError, match="BERT-like text tower takes prompts at its first layer only"):
        create_method("ivlp", backbone, ["dog", "cat"])
    with pytest.raises(VLPromptError, match="BERT-like text tower does not support low-rank updates"):
        create_method("clip-lora", backbone, ["dog", "cat"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hf_model_name": "google/mt5-base"}, "text encoders like google/mt5-base are not supported"),
        ({"hf_model_name": "someone/own-bert"}, "sizes of the text encoder 'someone/own-bert' are unknown; put its"),
        ({"hf_pooler_type": "max_pooler"}, "the pooling 'max_pooler' of a text encoder is not supported"),
        ({"hf_proj_type": "odd"}, "the projection 'odd' from 32 to 16 is not supported"),
    ],
)
def test_unsupported_text_towers_are_one_line(change: dict[str, str], message: str, tmp_path: Path) -> None:
    write_folder(tmp_path, "bert")
    path = tmp_path / "open_clip_config.json"
    described = json.loads(path.read_text())
    described["model_cfg"]["text_cfg"] |= change
    path.write_text(json.dumps(described))
    with pytest.raises(VLPromptError, match=message) as caught:
        load_backbone(f"local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_damaged_config_of_an_encoder(tmp_path: Path) -> None:
    write_folder(tmp_path, "bert")
    (tmp_path / "encoder" / "config.json").write_text("{")
    with pytest.raises(VLPromptError, match=r"config\.json does not describe a text encoder"):
        load_backbone(f"local-dir:{tmp_path}")


# As published, without poolers.
PARAMETERS = {
    "bert-base-uncased": 108_891_648,
    "roberta-base": 124_055_040,
    "xlm-roberta-base": 277_453_056,
    "xlm-roberta-large": 558_840_832,
}


def test_known_encoders_have_their_published_sizes() -> None:
    with torch.device("meta"):
        found = {name: Bert(BertConfig.read(hf_text.KNOWN[name])) for name in PARAMETERS}
    assert {name: sum(part.numel() for part in model.parameters()) for name, model in found.items()} == PARAMETERS


def test_published_names_need_no_network_for_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def build(text_cfg: dict[str, Any], embed_dim: int) -> nn.Module:
        asked.append(text_cfg["hf_model_name"])
        return nn.Identity()

    monkeypatch.setattr("vlprompt.backbones.sources.open_clip.build_text", build)
    from vlprompt.backbones.sources.open_clip import _model

    for name in ("roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32"):
        _model(open_clip.get_model_config(name))
    assert set(asked) <= set(hf_text.KNOWN)
