"""Load models by their open_clip name: `NAME/TAG`, `NAME/PATH`, `NAME/random`, `hf-hub:...`, `local-dir:...`."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.pretrained import download_pretrained_from_hf
from pydantic import ValidationError
from torch import Tensor, nn

from vlprompt.backbones.bert import BertTextModel
from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.sources.checkpoints import check_naming, is_torchscript, read_state_dict
from vlprompt.backbones.sources.hf_text import build_text, check_encoder, rename
from vlprompt.backbones.sources.openai import MAX_LAYERS, LoadedModel, square_size
from vlprompt.backbones.tokenizer import Tokenizer, clip_tokenizer, hub_tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.utils.aliases import resolve_alias
from vlprompt.utils.strings import describe_validation_error, did_you_mean, first_line

logger = logging.getLogger("vlprompt")

SUPPORTED = (
    "CLIP ViT, CLIP ModifiedResNet, SigLIP, and open_clip models with timm image towers or BERT-like text towers"
)
_HUB, _FOLDER = "hf-hub:", "local-dir:"
_CONFIG = "open_clip_config.json"
# Builds fast, and is replaced by a text tower from Hugging Face.
_PLACEHOLDER = {"layers": 1, "width": 8, "heads": 1, "vocab_size": 1, "context_length": 1}
_TOKENIZER_OPTIONS = {"clean", "strip_sep_token", "language"}
# Largest number in a configuration that a folder brings; open_clip's own reach 256,000 (words).
MAX_SIZE = 1_000_000
# Parameters that a model may have beyond twice those in its file, which leaves out what is resized.
SLACK = 10_000_000
_FOLDER_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def load_pretrained(
    source: str, quick_gelu: bool | None = None, preprocess: Preprocessing | None = None
) -> LoadedModel:
    """Load an open_clip model by its name.

    Args:
        source: name in one of the forms above. "random" initializes random weights, the same in each call.
        quick_gelu: whether the activation is QuickGELU; None for the setting of the tag. (open_clip's configuration of
            "ViT-B-16" has GELU, but its "openai" weights need QuickGELU.) A file and random weights take the setting
            that all tags of the name share; where they differ, the configuration's, with a warning for a file.
        preprocess: preprocessing of the images; None for that of the tag. A file and random weights take, for each
            field, the value that all tags of the name share, or OpenAI's.

    Raises:
        VLPromptError: the name, tag or kind of model is unknown or not supported, or the download fails.
    """
    if source.startswith(_HUB):
        return _load_hub(source, quick_gelu, preprocess)
    if source.startswith(_FOLDER):
        return _load_folder(Path(source.removeprefix(_FOLDER)), quick_gelu, preprocess)
    name, tag = split_source(source)
    config: dict[str, Any] = open_clip.get_model_config(name)
    _check_supported(name, config)
    settings: dict[str, Any] = {}
    checkpoint: Path | None
    if open_clip.is_pretrained_cfg(name, tag):
        published = open_clip.get_pretrained_cfg(name, tag)
        preprocessing, activation = read_preprocessing(published), _quick_gelu(published, config)
        checkpoint = _download(source, partial(open_clip.download_pretrained, published))
    else:
        preprocessing, activation = _agreed(name, config)
        settings = _beyond_architecture(preprocessing, activation, config)
        checkpoint = None if tag == "random" else Path(tag).expanduser()
        if checkpoint is not None:
            _warn_of_differences(
                name,
                config,
                checkpoint,
                preprocessing if preprocess is None else None,
                activation if quick_gelu is None else None,
            )
            tag = checkpoint.stem
    config["quick_gelu"] = activation if quick_gelu is None else quick_gelu
    tokenizer = _tokenizer(config, config["text_cfg"].get("hf_tokenizer_name"))
    return _loaded(f"{name}/{tag}", _build(config, checkpoint), preprocessing, tokenizer, settings)


def read_preprocessing(described: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing in an open_clip configuration, with OpenAI's values for what it leaves out.

    Raises:
        VLPromptError: a value is not supported.
    """
    fields = {name: described[name] for name in Preprocessing.model_fields if described.get(name) is not None}
    try:
        return Preprocessing(**fields)
    except ValidationError as error:
        raise VLPromptError(
            f"the preprocessing of the model is not supported ({describe_validation_error(error)}); set "
            "`backbone.preprocess`, such as `backbone.preprocess=ViT-B-32/openai`"
        ) from error


def published_preprocessing(source: str) -> Preprocessing:
    """Return the preprocessing of the weights "NAME/TAG".

    Raises:
        VLPromptError: the name or tag is unknown; the message suggests a similar one.
    """
    known = _known_name(source)
    if known is None or not open_clip.is_pretrained_cfg(*known):
        hint = did_you_mean(source, list_pretrained()) or "see vlprompt.list_backbones()"
        raise VLPromptError(f"`preprocess` must be an open_clip pair NAME/TAG or a mapping, got {source!r}; {hint}")
    return read_preprocessing(open_clip.get_pretrained_cfg(*known))


def _quick_gelu(published: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return bool(published.get("quick_gelu", config.get("quick_gelu", False)))


def _published(name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each tag of an architecture."""
    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)}


def _agreed(name: str, config: Mapping[str, Any]) -> tuple[Preprocessing, bool]:
    """Return the preprocessing and activation that all tags of a name share, or open_clip's defaults."""
    tags = _published(name).values()
    every = [read_preprocessing(published).model_dump() for published in tags]
    shared = every[0] if every else {}
    for values in every:
        shared = {field: value for field, value in shared.items() if values[field] == value}
    activations = {_quick_gelu(published, config) for published in tags}
    usual = _quick_gelu({}, config)
    return Preprocessing(**shared), activations.pop() if len(activations) == 1 else usual


def _beyond_architecture(preprocessing: Preprocessing, activation: bool, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from OpenAI's preprocessing and the architecture's activation, to be recorded."""
    settings: dict[str, Any] = {} if preprocessing == Preprocessing() else {"preprocess": preprocessing}
    return settings if activation == _quick_gelu({}, config) else {**settings, "quick_gelu": activation}


def _warn_of_differences(
    name: str, config: Mapping[str, Any], file: Path, preprocessing: Preprocessing | None, activation: bool | None
) -> None:
    """Warn of what the tags of an architecture differ in, and a file of its weights does not record.

    Args:
        name: the architecture.
        config: its configuration.
        file: the weights.
        preprocessing: assumed preprocessing; None if it was given.
        activation: whether QuickGELU is assumed; None if it was given.
    """
    tags = _published(name)
    other = next((tag for tag, published in tags.items() if read_preprocessing(published) != preprocessing), None)
    if other is not None and preprocessing is not None:
        found = read_preprocessing(tags[other]).model_dump().items()
        differing = ", ".join(f"{field} {value}" for field, value in found if value != getattr(preprocessing, field))
        logger.warning(
            "%s does not record its preprocessing, and the published weights of %s differ in it (%s: %s); OpenAI's is "
            "assumed; for another one set `backbone.preprocess`, such as `backbone.preprocess=%s/%s`",
            file, name, other, differing, name, other,
        )  # fmt: skip
    opposite = next((tag for tag, published in tags.items() if _quick_gelu(published, config) != activation), None)
    if opposite is not None and activation is not None:
        logger.warning(
            "%s does not record its activation, and the published weights of %s differ in it (%s: %s); %s is assumed; "
            "if it was fine-tuned from the others, set `backbone.quick_gelu=%s`",
            file, name, opposite, _activation(not activation), _activation(activation), str(not activation).lower(),
        )  # fmt: skip


def _activation(quick_gelu: bool) -> str:
    return "QuickGELU" if quick_gelu else "GELU"


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
    meant = repositories.get(source.lower()) or resolve_alias(source, names)
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


def _load_hub(source: str, quick_gelu: bool | None, preprocess: Preprocessing | None) -> LoadedModel:
    repository = source.removeprefix(_HUB)
    fetch = partial(download_pretrained_from_hf, repository)
    described = json.loads(_download(source, partial(fetch, filename=_CONFIG)).read_text(encoding="utf-8"))
    config = _described_config(source, described, quick_gelu)
    checkpoint = _download(source, fetch)
    tokenizer = _tokenizer(config, config["text_cfg"].get("hf_tokenizer_name"))
    preprocessing = preprocess or read_preprocessing(described.get("preprocess_cfg", {}))
    return _loaded(source, _build_described(config, checkpoint), preprocessing, tokenizer)


def _load_folder(folder: Path, quick_gelu: bool | None, preprocess: Preprocessing | None) -> LoadedModel:
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
    preprocessing = preprocess or read_preprocessing(described.get("preprocess_cfg", {}))
    return _loaded(folder.resolve().name, _build_described(config, checkpoint), preprocessing, tokenizer)


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
    elif text.get("tokenizer_mode") == "clips":
        kind = "a CLIPS model, whose class token follows the padding"
    else:
        if text.get("hf_model_name"):
            check_encoder(text)
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
    if checkpoint is not None and is_torchscript(checkpoint):
        raise VLPromptError(f"{checkpoint} is a TorchScript archive, which needs no model name; pass only its path")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(config)
    if checkpoint is not None:
        try:
            _load_weights(model, checkpoint)
        except VLPromptError:
            raise
        except Exception as error:
            lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
            raise VLPromptError(
                f"{checkpoint} does not fit the model it was given with: {lines[min(1, len(lines) - 1)][:300]}"
            ) from error
    return model


def _build_described(config: dict[str, Any], checkpoint: Path) -> nn.Module:
    """Build a model from a configuration file, unless it describes a larger model than the weights."""
    sizes = dict(_numbers(config))
    for place, value in sizes.items():
        limit = MAX_LAYERS if "layers" in place.split(".") else MAX_SIZE
        if not abs(value) <= limit:
            raise VLPromptError(f"the configuration of {checkpoint} has {place} {value:.4g}, more than {limit}")
    with torch.device("meta"):
        described = sum(value.numel() for value in _model(config).state_dict().values())
    held = sum(value.numel() for value in read_state_dict(checkpoint).values())
    if described > 2 * held + SLACK:
        raise VLPromptError(
            f"the configuration of {checkpoint} describes a model of {described:,} parameters, but the file holds "
            f"{held:,}; download the folder again"
        )
    return _build(config, checkpoint)


def _numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number in nested values by its dotted place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{place}.{index}")
    elif isinstance(value, int | float):
        yield place, value


def _model(config: dict[str, Any]) -> nn.Module:
    config = dict(config)
    config["vision_cfg"] = config["vision_cfg"] | {"timm_model_pretrained": False}
    custom_text, text = config.pop("custom_text", False), config["text_cfg"]
    if text.get("hf_model_name"):
        built: Any = open_clip.CustomTextCLIP(**config | {"text_cfg": _PLACEHOLDER})
        built.text = build_text(text, config["embed_dim"])
        tower: nn.Module = built
        return tower
    model: nn.Module = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    return model


def _load_weights(model: Any, checkpoint: Path) -> None:
    """Load a checkpoint with the conversions of `open_clip.load_checkpoint`, but read by `read_state_dict`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if checkpoint.suffix in (".npz", ".npy"):
            try:
                open_clip.load_checkpoint(model, str(checkpoint))
            except Exception as error:
                reason = first_line(error)
                raise VLPromptError(
                    f"{checkpoint} does not hold big_vision's weights of the model ({reason})"
                ) from error
            return
        state: dict[str, Tensor] = read_state_dict(checkpoint)
        check_naming(state, checkpoint)
        state = convert_state_dict(model, state)
        if isinstance(getattr(model, "text", None), BertTextModel):
            state = rename(state)
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
        for name in ("logit_scale", "logit_bias"):
            own = getattr(model, name)
            if own is not None and name in state:
                state[name] = state[name].reshape(own.shape)
        if model.logit_bias is not None and "logit_bias" not in state:
            state["logit_bias"] = torch.zeros_like(model.logit_bias)
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
        model.load_state_dict(state)


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


def _loaded(
    name: str,
    model: nn.Module,
    preprocessing: Preprocessing,
    tokenizer: Tokenizer,
    settings: Mapping[str, Any] | None = None,
) -> LoadedModel:
    return LoadedModel(model, tokenizer, name, square_size(model), preprocessing, settings or {})
