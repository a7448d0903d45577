"""Load a model from any source of weights: names, files, folders, state dicts and modules."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from vlprompt.backbones.preprocessing import Preprocessing, as_preprocessing
from vlprompt.backbones.sources import open_clip as pretrained
from vlprompt.backbones.sources.automatic import EMBEDDED, PHOTOS
from vlprompt.backbones.sources.checkpoints import check_naming, read_state_dict, unwrap
from vlprompt.backbones.sources.embedded import load_embedded
from vlprompt.backbones.sources.hf_text import adopt_text
from vlprompt.backbones.sources.huggingface import load_folder
from vlprompt.backbones.sources.openai import LoadedModel, build_clip, square_size
from vlprompt.backbones.sources.photos import load_photos
from vlprompt.backbones.tokenizer import CLIP_VOCABULARY_SIZE, Tokenizer, clip_tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import first_line

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, Tensor] | nn.Module


def load_model(
    source: Source,
    *,
    heads: tuple[int, int] | None = None,
    quick_gelu: bool | None = None,
    preprocess: Preprocessing | Mapping[str, Any] | str | None = None,
    tokenizer: Tokenizer | None = None,
) -> LoadedModel:
    """Load the dual encoder at `source`, in fp32 on the CPU, frozen, in eval mode.

    Args:
        source: one of

            - "embedded", the model that ships with the package;
            - an open_clip pair "NAME/TAG", where TAG is a pretrained tag, a checkpoint file or "random", or an
              open_clip source "hf-hub:..." or "local-dir:...";
            - a file: OpenAI's `.pt` archive, or a state dict in OpenAI's naming (`.pt`, `.bin`, `.safetensors`);
            - a folder in Hugging Face's CLIP layout, or in open_clip's;
            - a state dict in OpenAI's naming, whose fp32 CPU tensors are shared;
            - an open_clip module, which is cast, moved and frozen in place.
        heads: number of attention heads (text, image) of a state dict; default: one per 64 channels.
        quick_gelu: whether the activation is QuickGELU; default: True for a state dict, and the source's own setting
            for names and folders.
        preprocess: resizing and normalization of the images, as values or as the open_clip pair that has the same;
            default: the source's own.
        tokenizer: replaces the tokenizer; required for modules and state dicts with another vocabulary than CLIP's.

    Raises:
        VLPromptError: the source is unknown, cannot be read, or is not supported.
    """
    chosen = None if preprocess is None else _chosen(preprocess)
    given = {"heads": heads and tuple(heads), "quick_gelu": quick_gelu, "preprocess": chosen}
    try:
        loaded = _load(source, heads, quick_gelu, chosen, tokenizer)
    except VLPromptError:
        raise
    except Exception as error:
        if isinstance(source, Mapping | nn.Module):
            raise
        # Sizes, names and options in an untrusted file can raise anything.
        raise VLPromptError(f"`backbone` {str(source)!r} cannot be built: {first_line(error)}") from error
    settings = {**loaded.settings, **{name: value for name, value in given.items() if value is not None}}
    loaded = replace(
        loaded,
        preprocessing=chosen or loaded.preprocessing,
        tokenizer=tokenizer or loaded.tokenizer,
        settings=settings,
    )
    loaded.model.float().cpu().requires_grad_(False).eval()
    return loaded


def _chosen(preprocess: Preprocessing | Mapping[str, Any] | str) -> Preprocessing:
    try:
        value = as_preprocessing(dict(preprocess) if isinstance(preprocess, Mapping) else preprocess)
    except ValueError as error:
        raise VLPromptError(f"`preprocess` {error}") from error
    return pretrained.published_preprocessing(value) if isinstance(value, str) else value


def _load(
    source: Source,
    heads: tuple[int, int] | None,
    quick_gelu: bool | None,
    preprocess: Preprocessing | None,
    tokenizer: Tokenizer | None,
) -> LoadedModel:
    if isinstance(source, Mapping):
        return _from_weights(unwrap(source), "state dict", heads, quick_gelu, tokenizer)
    if not isinstance(source, nn.Module) and Path(source).expanduser().is_file():
        path = Path(source).expanduser()
        return _from_weights(read_state_dict(path), path.stem, heads, quick_gelu, tokenizer)
    if heads is not None:
        raise VLPromptError("`heads` applies only to state dicts in OpenAI's naming; this source already defines it")
    if isinstance(source, nn.Module) or source in (PHOTOS, EMBEDDED):
        if quick_gelu is not None:
            raise VLPromptError(
                "`quick_gelu` applies only to state dicts, folders and names; this source already defines it"
            )
        if isinstance(source, nn.Module):
            return _from_module(source, tokenizer)
        return load_photos() if source == PHOTOS else load_embedded()
    return _from_name(source, quick_gelu, preprocess)


def _from_name(
    source: str | os.PathLike[str], quick_gelu: bool | None, preprocess: Preprocessing | None
) -> LoadedModel:
    if isinstance(source, str) and pretrained.is_pretrained(source):
        return pretrained.load_pretrained(source, quick_gelu, preprocess)
    path = Path(source).expanduser()
    if (path / "open_clip_config.json").is_file():
        return pretrained.load_pretrained(f"local-dir:{path}", quick_gelu, preprocess)
    if path.is_dir():
        return load_folder(path, quick_gelu, preprocess)
    if isinstance(source, os.PathLike):
        raise VLPromptError(f"`backbone` {str(path)!r} does not exist")
    return pretrained.load_pretrained(source)  # raises an error that suggests names


def _from_weights(
    weights: Mapping[str, Tensor],
    name: str,
    heads: tuple[int, int] | None,
    quick_gelu: bool | None,
    tokenizer: Tokenizer | None,
) -> LoadedModel:
    check_naming(weights, name)
    model = build_clip(weights, heads=heads, quick_gelu=quick_gelu)
    return LoadedModel(model, tokenizer or _default_tokenizer(model), name, image_size=square_size(model))


def _from_module(model: nn.Module, tokenizer: Tokenizer | None) -> LoadedModel:
    text = getattr(model, "text", None)
    if not isinstance(model, (open_clip.CLIP, open_clip.CustomTextCLIP)) or getattr(text, "cls_emb", None) is not None:
        inner = f" with a {type(text).__name__}" if text is not None else ""
        raise VLPromptError(
            f"a {type(model).__name__}{inner} is not supported as `backbone`; supported are {pretrained.SUPPORTED}, "
            "as open_clip builds them"
        )
    if isinstance(text, HFTextEncoder):
        if tokenizer is None:
            raise VLPromptError(
                "the vocabulary of a Hugging Face text tower is not recorded in it; pass its `tokenizer`"
            )
        model.text = adopt_text(text)
    return LoadedModel(
        model,
        tokenizer or _default_tokenizer(model),
        type(model).__name__,
        image_size=square_size(model),
        preprocessing=pretrained.read_preprocessing(open_clip.get_model_preprocess_cfg(model)),
    )


def _default_tokenizer(model: Any) -> Tokenizer:
    vocabulary, length = int(model.vocab_size), int(model.context_length)
    if vocabulary != CLIP_VOCABULARY_SIZE:
        raise VLPromptError(
            f"the model has a vocabulary of {vocabulary} tokens, not CLIP's {CLIP_VOCABULARY_SIZE}; "
            "pass its `tokenizer`"
        )
    return clip_tokenizer(length)
