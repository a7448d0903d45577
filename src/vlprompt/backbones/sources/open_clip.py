"""Load models by their open_clip name: `NAME/TAG`, `NAME/PATH`, `NAME/random`, `hf-hub:...`, `local-dir:...`."""

import json
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from vlprompt.backbones.sources.checkpoints import is_torchscript
from vlprompt.backbones.sources.openai import LoadedModel, square_size
from vlprompt.backbones.tokenizer import Tokenizer, clip_tokenizer, hub_tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.utils.field_names import field_name
from vlprompt.utils.strings import did_you_mean, first_line

SUPPORTED = "CLIP ViT, CLIP ModifiedResNet, open_clip models with timm image towers, SigLIP"
_HUB, _FOLDER = "hf-hub:", "local-dir:"
_CONFIG = "open_clip_config.json"
_TOKENIZER_OPTIONS = {"clean", "strip_sep_token", "language"}
_FOLDER_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def load_pretrained(source: str, quick_gelu: bool | None = None) -> LoadedModel:
    """Load an open_clip model by its name.

    Args:
        source: name in one of the forms above. "random" initializes random weights, the same in each call.
        quick_gelu: whether the activation is QuickGELU; None for the setting of the tag. (open_clip's configuration of
            "ViT-B-16" has GELU, but its "openai" weights need QuickGELU.)

    Raises:
        VLPromptError: the name, tag or kind of model is unknown or not supported, or the download fails.
    """
    if source.startswith(_HUB):
        return _load_hub(source, quick_gelu)
    if source.startswith(_FOLDER):
        return _load_folder(Path(source.removeprefix(_FOLDER)), quick_gelu)
    name, tag = split_source(source)
    config: dict[str, Any] = open_clip.get_model_config(name)
    _check_supported(name, config)
    preprocessing: dict[str, Any] = {}
    if tag == "random":
        checkpoint = None
    elif open_clip.is_pretrained_cfg(name, tag):
        preprocessing = open_clip.get_pretrained_cfg(name, tag)
        config["quick_gelu"] = preprocessing.get("quick_gelu", config.get("quick_gelu", False))
        checkpoint = _download(source, partial(open_clip.download_pretrained, preprocessing))
    else:
        checkpoint = Path(tag).expanduser()
        tag = checkpoint.stem
    if quick_gelu is not None:
        config["quick_gelu"] = quick_gelu
    tokenizer = _tokenizer(config, config["text_cfg"].get("hf_tokenizer_name"))
    return _loaded(f"{name}/{tag}", _build(config, checkpoint), preprocessing, tokenizer)


def is_pretrained(source: str) -> bool:
    """Return whether `load_pretrained` accepts `source`, by its scheme or as an open_clip name with a tag or file."""
    if source.startswith((_HUB, _FOLDER)):
        return True
    known = _known_name(source)
    return known is not None and _has_weights(*known)


def split_source(source: str) -> tuple[str, str]:
    """Split "NAME/TAG" into the model's name and its pretrained tag, checkpoint path or "random".

    Raises:
        VLPromptError: the name or tag is unknown; the message suggests a similar one.
    """
    known = _known_name(source)
    if known is None:
        hint = _meant(source) or (did_you_mean(source, list_pretrained()) if "/" in source else "")
        hint = hint or did_you_mean(source.partition("/")[0], ["embedded", *open_clip.list_models()])
        raise VLPromptError(
            f"`backbone` {source!r} is neither a file nor an open_clip name; {hint or 'see vlprompt.list_backbones()'}"
        )
    name, tag = known
    if _has_weights(name, tag):
        return name, tag
    tags = [*open_clip.list_pretrained_tags_by_model(name), "random"]
    problem = f"has no pretrained tag or file {tag!r}" if tag else "needs weights, as NAME/TAG"
    hint = did_you_mean(tag, tags) or ("" if source == name else _meant(source))
    raise VLPromptError(f"`backbone` {name!r} {problem}; {hint or 'its tags are ' + ', '.join(tags)}")


def _meant(source: str) -> str:
    """Return a hint at NAME/TAG for a repository on the hub, or for the field's name of a model; "" if unknown."""
    names = list_pretrained()
    repositories = {_repository(name): name for name in reversed(names)}
    meant = repositories.get(source.lower()) or field_name(source, names)
    return f"did you mean {meant!r}?" if meant else ""


def _repository(pretrained: str) -> str:
    found = open_clip.get_pretrained_cfg(*pretrained.split("/")).get("hf_hub", "")
    return "/".join(found.split("/")[:2]).lower()


def _has_weights(name: str, tag: str) -> bool:
    return tag == "random" or open_clip.is_pretrained_cfg(name, tag) or Path(tag).expanduser().is_file()


def _known_name(source: str) -> tuple[str, str] | None:
    # Paths contain slashes, as do names in OpenAI's spelling ("ViT-B/16"), so the longest known name wins.
    names = set(open_clip.list_models())
    parts = source.split("/")
    for count in range(len(parts), 0, -1):
        name = "-".join(parts[:count])
        if name in names:
            return name, "/".join(parts[count:])
    return None


def _load_hub(source: str, quick_gelu: bool | None) -> LoadedModel:
    repository = source.removeprefix(_HUB)
    fetch = partial(download_pretrained_from_hf, repository)
    described = json.loads(_download(source, partial(fetch, filename=_CONFIG)).read_text(encoding="utf-8"))
    config = _described_config(source, described, quick_gelu)
    checkpoint = _download(source, fetch)
    tokenizer = _tokenizer(config, config["text_cfg"].get("hf_tokenizer_name"))
    return _loaded(source, _build(config, checkpoint), described.get("preprocess_cfg", {}), tokenizer)


def _load_folder(folder: Path, quick_gelu: bool | None) -> LoadedModel:
    folder = folder.expanduser()
    if not (folder / _CONFIG).is_file():
        raise VLPromptError(f"{folder} is not an open_clip folder: {_CONFIG} is missing")
    described = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    config = _described_config(str(folder), described, quick_gelu)
    checkpoint = next((folder / name for name in _FOLDER_WEIGHTS if (folder / name).is_file()), None)
    if checkpoint is None:
        raise VLPromptError(
            f"{folder} has no weights with a file name that open_clip uses, such as {_FOLDER_WEIGHTS[0]}"
        )
    tokenizer = _tokenizer(config, str(folder) if config["text_cfg"].get("hf_tokenizer_name") else None)
    return _loaded(folder.resolve().name, _build(config, checkpoint), described.get("preprocess_cfg", {}), tokenizer)


def _described_config(name: str, described: dict[str, Any], quick_gelu: bool | None) -> dict[str, Any]:
    config: dict[str, Any] = described.get("model_cfg", described)
    if "text_cfg" not in config or "vision_cfg" not in config:
        raise VLPromptError(
            f"the {_CONFIG} of {name} does not describe a dual encoder: text_cfg or vision_cfg is missing"
        )
    _check_supported(name, config)
    if quick_gelu is not None:
        config["quick_gelu"] = quick_gelu
    return config


def list_pretrained() -> list[str]:
    """Return every "NAME/TAG" of open_clip whose model family is supported."""
    families = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    supported = {name for name, config in families.items() if config and _is_supported(name, config)}
    return [f"{name}/{tag}" for name, tag in open_clip.list_pretrained() if name in supported]


def _is_supported(name: str, config: dict[str, Any]) -> bool:
    try:
        _check_supported(name, config)
    except VLPromptError:
        return False
    return True


def _check_supported(name: str, config: dict[str, Any]) -> None:
    text = config["text_cfg"]
    if "multimodal_cfg" in config or text.get("embed_cls"):
        kind = "a CoCa model"
    elif text.get("hf_model_name"):
        kind = "a model with a Hugging Face text tower"
    elif text.get("tokenizer_mode") == "clips":
        kind = "a CLIPS model, whose class token follows the padding"
    else:
        return
    raise VLPromptError(f"`backbone` {name!r} is {kind}, which is not supported; supported are {SUPPORTED}")


def _download(source: str, fetch: partial[str]) -> Path:
    try:
        return Path(fetch())
    except Exception as error:  # network errors have many types
        reason = first_line(error)
        raise VLPromptError(
            f"{source!r} cannot be downloaded ({reason}); use a local copy: NAME/FILE or local-dir:FOLDER"
        ) from error


def _build(config: dict[str, Any], checkpoint: Path | None) -> nn.Module:
    """Build a model from an open_clip configuration, with the weights of a checkpoint or seeded random ones."""
    config = dict(config)
    config["vision_cfg"] = config["vision_cfg"] | {"timm_model_pretrained": False}
    custom_text = config.pop("custom_text", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    if checkpoint is None:
        return model
    if is_torchscript(checkpoint):
        raise VLPromptError(f"{checkpoint} is a TorchScript archive, which needs no model name; pass only its path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_clip.load_checkpoint(model, str(checkpoint))
    except Exception as error:
        lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
        raise VLPromptError(
            f"{checkpoint} does not fit the model it was given with: {lines[min(1, len(lines) - 1)][:300]}"
        ) from error
    return model


def _tokenizer(config: dict[str, Any], hub_name: str | None) -> Tokenizer:
    text = config["text_cfg"]
    length: int = text.get("context_length", open_clip.CLIPTextCfg.context_length)
    options: dict[str, Any] = text.get("tokenizer_kwargs") or {}
    # Unknown options would reach transformers, where some of them run code that ships with a model.
    if other := options.keys() - _TOKENIZER_OPTIONS:
        raise VLPromptError(f"the model's configuration has unsupported tokenizer options: {', '.join(sorted(other))}")
    if hub_name:
        return hub_tokenizer(hub_name, length, **options)
    return clip_tokenizer(length, clean=options.get("clean", "lower"))


def _loaded(name: str, model: nn.Module, preprocessing: dict[str, Any], tokenizer: Tokenizer) -> LoadedModel:
    final = merge_preprocess_dict(asdict(PreprocessCfg()), preprocessing)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=name,
        image_size=square_size(model),
        mean=tuple(final["mean"]),
        std=tuple(final["std"]),
        interpolation=final["interpolation"],
        squash=final["resize_mode"] == "squash",
    )
