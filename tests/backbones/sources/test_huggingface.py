"""Hugging Face CLIP folders, written by a conversion in this file."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.helpers.tiny_clip import Tiny
from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.sources.load import load_model
from vlprompt.errors import VLPromptError


def hugging_face_names(model: open_clip.CLIP) -> dict[str, Tensor]:
    """Rename weights to those of transformers' CLIPModel."""
    weights = {
        "logit_scale": model.logit_scale,
        "text_projection.weight": model.text_projection.T,
        "visual_projection.weight": model.visual.proj.T,
        "text_model.embeddings.token_embedding.weight": model.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": model.positional_embedding,
        "text_model.embeddings.position_ids": torch.arange(model.context_length)[None],
        "vision_model.embeddings.class_embedding": model.visual.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": model.visual.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": model.visual.positional_embedding,
        "vision_model.embeddings.position_ids": torch.arange(len(model.visual.positional_embedding))[None],
    }
    modules = {
        "text_model.final_layer_norm": model.ln_final,
        "vision_model.pre_layrnorm": model.visual.ln_pre,
        "vision_model.post_layernorm": model.visual.ln_post,
    }
    for tower, transformer in (("text", model.transformer), ("vision", model.visual.transformer)):
        for index, block in enumerate(transformer.resblocks):
            layer = f"{tower}_model.encoder.layers.{index}"
            modules |= {
                f"{layer}.layer_norm1": block.ln_1,
                f"{layer}.layer_norm2": block.ln_2,
                f"{layer}.mlp.fc1": block.mlp.c_fc,
                f"{layer}.mlp.fc2": block.mlp.c_proj,
                f"{layer}.self_attn.out_proj": block.attn.out_proj,
            }
            for part, weight, bias in zip(
                "qkv", block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True
            ):
                weights[f"{layer}.self_attn.{part}_proj.weight"] = weight
                weights[f"{layer}.self_attn.{part}_proj.bias"] = bias
    for name, module in modules.items():
        weights |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return {name: value.detach().clone().contiguous() for name, value in weights.items()}


def config(
    text: dict[str, object] | None = None, vision: dict[str, object] | None = None, **top: object
) -> dict[str, object]:
    """Return the smallest config.json, without values that have a default."""
    heads = {"text_config": {"num_attention_heads": 1}, "vision_config": {"num_attention_heads": 2}}
    heads["text_config"] |= text or {}  # type: ignore[arg-type]
    heads["vision_config"] |= vision or {}  # type: ignore[arg-type]
    return {"model_type": "clip", "architectures": ["CLIPModel"]} | heads | top


def write(folder: Path, model: open_clip.CLIP, described: dict[str, object]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(described))
    save_file(hugging_face_names(model), folder / "model.safetensors")
    return folder


def test_folder(tiny_vit: Tiny, tmp_path: Path) -> None:
    loaded = load_model(write(tmp_path / "my-clip", tiny_vit.model, config()))
    tiny_vit.assert_same(loaded.model)
    assert (loaded.name, loaded.image_size, loaded.preprocessing.interpolation) == ("my-clip", 32, "bicubic")
    assert loaded.preprocessing.mean == open_clip.OPENAI_DATASET_MEAN
    assert torch.equal(loaded.tokenizer(["a photo of a cat.", "a tree"]), tiny_vit.tokens)


def test_heads_activation_and_sizes_from_config(gelu_clip: Tiny, tmp_path: Path) -> None:
    text = {"num_attention_heads": 4, "hidden_act": "gelu"}
    vision = {"num_attention_heads": 3, "hidden_act": "gelu"}
    folder = write(tmp_path / "gelu", gelu_clip.model, config(text, vision))
    gelu_clip.assert_same(load_model(folder).model)
    with pytest.raises(AssertionError):
        gelu_clip.assert_same(load_model(folder, quick_gelu=True).model)


def test_layer_norm_eps_from_config(tiny_vit: Tiny, tmp_path: Path) -> None:
    described = config({"layer_norm_eps": 1e-3}, {"layer_norm_eps": 1e-2})
    model = load_model(write(tmp_path / "eps", tiny_vit.model, described)).model
    assert {model.ln_final.eps, model.transformer.resblocks[1].ln_2.eps} == {1e-3}
    assert {model.visual.ln_pre.eps, model.visual.transformer.resblocks[0].ln_1.eps} == {1e-2}


def test_legacy_config_sections(tiny_vit: Tiny, tmp_path: Path) -> None:
    described: dict[str, object] = {
        "model_type": "clip",
        "text_config_dict": {"num_attention_heads": 1},
        "vision_config_dict": {"num_attention_heads": 2},
        "text_config": None,
    }
    tiny_vit.assert_same(load_model(write(tmp_path / "old", tiny_vit.model, described)).model)


def test_pytorch_weights(tiny_vit: Tiny, tmp_path: Path) -> None:
    folder = write(tmp_path / "bin", tiny_vit.model, config())
    (folder / "model.safetensors").unlink()
    torch.save(hugging_face_names(tiny_vit.model), folder / "pytorch_model.bin")
    tiny_vit.assert_same(load_model(folder).model)


def test_sharded_weights(tiny_vit: Tiny, tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", tiny_vit.model, config())
    (folder / "model.safetensors").unlink()
    weights = hugging_face_names(tiny_vit.model)
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(weights)}
    for file in set(files.values()):
        save_file({name: value for name, value in weights.items() if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    tiny_vit.assert_same(load_model(folder).model)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_preprocessing_from_config(tiny_vit: Tiny, tmp_path: Path, file: str) -> None:
    folder = write(tmp_path / "half", tiny_vit.model, config())
    described = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3], "resample": 2}
    content = described if file == "preprocessor_config.json" else {"image_processor": described}
    (folder / file).write_text(json.dumps(content))
    loaded = load_model(folder)
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert loaded.preprocessing.interpolation == "bilinear"


@pytest.mark.parametrize("file", ["vocab.json", "tokenizer.json"])
def test_other_vocabulary_is_rejected(tiny_vit: Tiny, tmp_path: Path, file: str) -> None:
    folder = write(tmp_path / "words", tiny_vit.model, config())

    def write_vocabulary() -> None:
        (folder / file).write_text(json.dumps(vocabulary if file == "vocab.json" else {"model": {"vocab": vocabulary}}))

    vocabulary = dict(open_clip.SimpleTokenizer().encoder)
    vocabulary["<|startoftext|>"] = vocabulary.pop("<start_of_text>")
    vocabulary["<|endoftext|>"] = vocabulary.pop("<end_of_text>")
    write_vocabulary()
    tiny_vit.assert_same(load_model(folder).model)
    vocabulary["cat</w>"], vocabulary["dog</w>"] = vocabulary["dog</w>"], vocabulary["cat</w>"]
    write_vocabulary()
    with pytest.raises(VLPromptError, match=r"vocabulary of .* differs from CLIP's"):
        load_model(folder)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (config(model_type="siglip"), r"is not a full CLIP model \(siglip\); load it by its open_clip name"),
        (config(architectures=["CLIPTextModel"]), "is not a full CLIP model"),
        ({}, "is not a full CLIP model"),
        (config({"hidden_act": "relu"}), "hidden_act of .* must be quick_gelu or gelu, .* got quick_gelu and relu"),
        (config({"hidden_act": "gelu"}), "hidden_act of .* must be quick_gelu or gelu, .* got gelu and quick_gelu"),
    ],
)
def test_other_models(tiny_vit: Tiny, tmp_path: Path, described: dict[str, object], message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        load_model(write(tmp_path / "other", tiny_vit.model, described))


def test_damaged_folder(tiny_vit: Tiny, tmp_path: Path) -> None:
    folder = write(tmp_path / "damaged", tiny_vit.model, config())
    weights = hugging_face_names(tiny_vit.model)
    del weights["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(VLPromptError, match=r"'text_model.encoder.layers.1.self_attn.k_proj.bias' is missing"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(VLPromptError, match=r"neither model.safetensors nor pytorch_model.bin"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(VLPromptError, match=r"config.json cannot be read"):
        load_model(folder)


def test_unknown_weight_is_reported(tiny_vit: Tiny, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", tiny_vit.model, config())
    save_file(hugging_face_names(tiny_vit.model) | {"text_model.extra": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(VLPromptError, match=r"'text_model.extra' is unknown"):
        load_model(folder)


OFF = {"do_normalize": False}
SQUASHED = {
    "size": {"height": 32, "width": 32},
    "do_center_crop": False,
    "image_processor_type": "SiglipImageProcessor",
}


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({}, Preprocessing()),
        ({"size": 32, "crop_size": 32, "do_center_crop": True}, Preprocessing()),
        ({"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}, Preprocessing()),
        (OFF, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))),
        (SQUASHED, Preprocessing(resize_mode="squash")),
        ({"resample": 1}, Preprocessing(interpolation="lanczos")),
        ({"resample": 0, "rescale_factor": 0.00392156862745098}, Preprocessing(interpolation="nearest")),
    ],
)
def test_image_processors(
    tiny_vit: Tiny, tmp_path: Path, described: dict[str, object], expected: Preprocessing
) -> None:
    folder = write(tmp_path / "images", tiny_vit.model, config())
    (folder / "preprocessor_config.json").write_text(json.dumps(described))
    assert load_model(folder).preprocessing == expected


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"size": {"shortest_edge": 40}}, "its images are 40 pixels wide, the model's 32"),
        ({"size": {"height": 32, "width": 48}, "do_center_crop": False}, "pixels wide, the model's 32"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "its images are not cropped to squares"),
        ({"do_resize": False}, "it does not resize"),
        ({"do_rescale": False}, r"its values are not scaled to \[0, 1\]"),
        ({"rescale_factor": 1 / 127.5}, r"its values are not scaled to \[0, 1\]"),
        ({"resample": 9}, "its resample code 9 is unknown"),
        ({"image_mean": [123.7, 116.3, 103.5]}, "mean.0: must be at most 1, got 123.7"),
        ({"image_std": [0, 1, 1]}, "std.0: must be greater than 0"),
    ],
)
def test_unsupported_image_processors(
    tiny_vit: Tiny, tmp_path: Path, described: dict[str, object], problem: str
) -> None:
    folder = write(tmp_path / "images", tiny_vit.model, config())
    (folder / "preprocessor_config.json").write_text(json.dumps(described))
    with pytest.raises(VLPromptError, match=f"is not supported .*{problem}.*; set `backbone.preprocess`"):
        load_model(folder)
    assert load_model(folder, preprocess="ViT-B-16/openai").preprocessing == Preprocessing()


@pytest.mark.parametrize(("tower", "name"), [("text", "num_hidden_layers"), ("vision", "hidden_size")])
def test_absurd_configuration_does_not_count(tiny_vit: Tiny, tmp_path: Path, tower: str, name: str) -> None:
    described = config(**{tower: {name: 10**7}})  # type: ignore[arg-type]
    tiny_vit.assert_same(load_model(write(tmp_path / "large", tiny_vit.model, described)).model)


@pytest.mark.parametrize("heads", [10**7, 0, -1, 3, "many", 10**400])
def test_absurd_heads(tiny_vit: Tiny, tmp_path: Path, heads: object) -> None:
    folder = write(tmp_path / "heads", tiny_vit.model, config({"num_attention_heads": heads}))
    with pytest.raises(VLPromptError) as caught:
        load_model(folder)
    assert len(str(caught.value)) < 400
