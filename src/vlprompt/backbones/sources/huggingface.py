"""Load Hugging Face CLIP folders (`config.json` and weights) without the transformers package."""

import json
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP
from torch import Tensor

from vlprompt.backbones.sources.checkpoints import read_state_dict
from vlprompt.backbones.sources.openai import OPENAI_MEAN, OPENAI_STD, LoadedModel, build_clip
from vlprompt.backbones.tokenizer import CLIP_VOCABULARY_SIZE, clip_bpe, clip_tokenizer
from vlprompt.errors import VLPromptError

# Defaults of CLIPTextConfig and CLIPVisionConfig, which a config.json may leave out.
_TEXT_DEFAULTS = {"num_attention_heads": 8, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_VISION_DEFAULTS = {"num_attention_heads": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's codes

_RENAMED = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_LAYERS = {
    "text_model.encoder.layers.": "transformer.resblocks.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
}
_LAYER_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def load_folder(folder: Path, quick_gelu: bool | None = None) -> LoadedModel:
    """Load the CLIP in a Hugging Face folder, with heads, activation and epsilon from its `config.json`.

    Args:
        folder: the folder.
        quick_gelu: whether the activation is QuickGELU; None for the one in `config.json`.

    Raises:
        VLPromptError: the folder is incomplete, or its model or vocabulary is not CLIP's.
    """
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "clip" or "CLIPModel" not in config.get("architectures", ["CLIPModel"]):
        kind = config.get("model_type", "without model_type")
        raise VLPromptError(f"{folder} is not a full CLIP model ({kind}); load it by its open_clip name, NAME/TAG")
    text = _TEXT_DEFAULTS | (config.get("text_config_dict") or {}) | (config.get("text_config") or {})
    vision = _VISION_DEFAULTS | (config.get("vision_config_dict") or {}) | (config.get("vision_config") or {})
    model = build_clip(
        to_openai_names(_read_weights(folder)),
        heads=(text["num_attention_heads"], vision["num_attention_heads"]),
        quick_gelu=_quick_gelu(folder, text["hidden_act"], vision["hidden_act"]) if quick_gelu is None else quick_gelu,
        eps=(text["layer_norm_eps"], vision["layer_norm_eps"]),
    )
    _check_vocabulary(folder, model)
    processor = _read_json(folder / "processor_config.json", missing={})  # one file for all since transformers 5
    preprocessing = _read_json(folder / "preprocessor_config.json", missing=processor.get("image_processor", {}))
    return LoadedModel(
        model=model,
        tokenizer=clip_tokenizer(model.context_length),
        name=folder.resolve().name,
        image_size=model.visual.image_size[0],
        mean=_rgb(preprocessing.get("image_mean", OPENAI_MEAN)),
        std=_rgb(preprocessing.get("image_std", OPENAI_STD)),
        interpolation=_INTERPOLATIONS.get(preprocessing.get("resample", 3), "bicubic"),
    )


def to_openai_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights to OpenAI's names, and concatenate query, key and value projections."""
    state: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("embeddings.position_ids"):  # constants in files of older versions
            continue
        if name in _TRANSPOSED:
            state[_TRANSPOSED[name]] = value.T.contiguous()
        elif name in _RENAMED:
            state[_RENAMED[name]] = value
        elif (layer := _layer_name(name)) is not None:
            state[layer] = value
        elif ".self_attn.q_proj." in name:
            parts = [_need(weights, name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
            state[_projection_name(name)] = torch.cat(parts)
        elif ".self_attn.k_proj." not in name and ".self_attn.v_proj." not in name:
            state[name] = value  # unknown; `build_clip` reports it
    return state


def _layer_name(name: str) -> str | None:
    for prefix, renamed in _LAYERS.items():
        if name.startswith(prefix):
            index, _, rest = name[len(prefix) :].partition(".")
            part, _, kind = rest.rpartition(".")
            if part in _LAYER_PARTS:
                return f"{renamed}{index}.{_LAYER_PARTS[part]}.{kind}"
    return None


def _projection_name(name: str) -> str:
    for prefix, renamed in _LAYERS.items():
        name = name.replace(prefix, renamed)
    return name.replace(".self_attn.q_proj.", ".attn.in_proj_")


def _need(weights: dict[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise VLPromptError(f"weight {name!r} is missing; download the folder again")
    return weights[name]


def _read_weights(folder: Path) -> dict[str, Tensor]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_state_dict(folder / name)
        if (folder / f"{name}.index.json").is_file():
            shards = sorted(set(_read_json(folder / f"{name}.index.json")["weight_map"].values()))
            if outside := [shard for shard in shards if Path(shard).name != shard]:
                raise VLPromptError(f"{folder / name}.index.json names {outside[0]!r}, which is outside of the folder")
            return {key: value for shard in shards for key, value in read_state_dict(folder / shard).items()}
    raise VLPromptError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")


def _read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    if not path.is_file() and missing is not None:
        return missing
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VLPromptError(f"{path} cannot be read ({error})") from error
    return content


def _quick_gelu(folder: Path, *activations: str) -> bool:
    kinds = set(activations)
    if len(kinds) > 1 or not kinds <= set(_ACTIVATIONS):
        raise VLPromptError(
            f"hidden_act of {folder} must be quick_gelu or gelu, the same in both towers, "
            f"got {' and '.join(sorted(kinds))}"
        )
    return _ACTIVATIONS[activations[0]]


def _check_vocabulary(folder: Path, model: CLIP) -> None:
    tokenizer = _read_json(folder / "tokenizer.json", missing={})
    own = _read_json(folder / "vocab.json", missing=tokenizer.get("model", {}).get("vocab", {}))
    standard = dict(clip_bpe().encoder)
    standard["<|startoftext|>"] = standard.pop("<start_of_text>")
    standard["<|endoftext|>"] = standard.pop("<end_of_text>")
    if model.vocab_size != CLIP_VOCABULARY_SIZE or (own and own != standard):
        raise VLPromptError(
            f"the vocabulary of {folder} differs from CLIP's byte-pair encoding of {CLIP_VOCABULARY_SIZE} tokens; "
            "load the model by its open_clip name, NAME/TAG"
        )


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
