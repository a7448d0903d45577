"""Load Hugging Face CLIP folders (`config.json` and weights) without the transformers package."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP
from pydantic import ValidationError
from torch import Tensor

from vlprompt.backbones.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing
from vlprompt.backbones.sources.checkpoints import read_state_dict
from vlprompt.backbones.sources.openai import LoadedModel, build_clip
from vlprompt.backbones.tokenizer import CLIP_VOCABULARY_SIZE, clip_bpe, clip_tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import describe_validation_error, listed

# Defaults of CLIPTextConfig and CLIPVisionConfig, which a config.json may leave out.
_TEXT_DEFAULTS = {"num_attention_heads": 8, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_VISION_DEFAULTS = {"num_attention_heads": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's codes

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


def load_folder(folder: Path, quick_gelu: bool | None = None, preprocess: Preprocessing | None = None) -> LoadedModel:
    """Load the CLIP in a Hugging Face folder, with heads, activation and epsilon from its `config.json`.

    Args:
        folder: the folder.
        quick_gelu: whether the activation is QuickGELU; None for the one in `config.json`.
        preprocess: preprocessing of the images; None for that in `preprocessor_config.json`, or CLIP's.

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
    size = model.visual.image_size[0]
    return LoadedModel(
        model=model,
        tokenizer=clip_tokenizer(model.context_length),
        name=folder.resolve().name,
        image_size=size,
        preprocessing=preprocess or _preprocessing(folder, size),
    )


def _preprocessing(folder: Path, size: int) -> Preprocessing:
    """Return the preprocessing of a folder's image processor; what is not supported of it is an error."""
    processor = _read_json(folder / "processor_config.json", missing={})  # one file for all since transformers 5
    described = _read_json(folder / "preprocessor_config.json", missing=processor.get("image_processor", {}))
    kind = described.get("image_processor_type") or described.get("feature_extractor_type") or "CLIP"
    edges, crop = described.get("size", size), described.get("do_center_crop", "CLIP" in kind)
    resized = edges if isinstance(edges, dict) else {"shortest_edge": edges} if "CLIP" in kind else {"height": edges}
    sides = {value for key, value in resized.items() if key in ("shortest_edge", "height", "width")}
    squash = "shortest_edge" not in resized
    code = described.get("resample", _INTERPOLATIONS.index("bicubic"))
    problems = {
        f"its images are {listed(sides, quote=False)} pixels wide, the model's {size}": sides != {size},
        "it resizes the longest side": "longest_edge" in resized,
        "its images are not cropped to squares": not (crop or squash),
        "it does not resize": not described.get("do_resize", True),
        "its values are not scaled to [0, 1]": not described.get("do_rescale", True)
        or not math.isclose(described.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3),
        f"its resample code {code!r} is unknown": code not in range(len(_INTERPOLATIONS)),
    }
    if problem := next((reason for reason, found in problems.items() if found), None):
        raise _unsupported(folder, problem)
    mean, std = described.get("image_mean", OPENAI_MEAN), described.get("image_std", OPENAI_STD)
    if not described.get("do_normalize", True):
        mean, std = (0, 0, 0), (1, 1, 1)
    values = {"mean": mean, "std": std, "interpolation": _INTERPOLATIONS[code]}
    try:
        return Preprocessing(**values, resize_mode="squash" if squash else "shortest")
    except ValidationError as error:
        raise _unsupported(folder, describe_validation_error(error)) from error


def _unsupported(folder: Path, problem: str) -> VLPromptError:
    return VLPromptError(
        f"the image processor of {folder} is not supported ({problem}); set `backbone.preprocess`, such as "
        "`backbone.preprocess=ViT-B-32/openai`"
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
