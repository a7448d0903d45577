"""`LoadedModel`, and CLIP models built from weights in OpenAI's naming, with the architecture inferred from shapes."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.tokenizer import CLIP_VOCABULARY_SIZE, Tokenizer
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

_LAYOUT_HINT = "is it in OpenAI's CLIP naming? Other models load by their open_clip name, NAME/PATH"
_RESNET_STRIDE = 32
MAX_LAYERS = 512  # the deepest published CLIP has 64


@dataclass(frozen=True)
class LoadedModel:
    """Dual encoder as published: in fp32 on the CPU, frozen, in eval mode, with tokenizer and preprocessing.

    Attributes:
        model: an open_clip `CLIP` or `CustomTextCLIP`.
        tokenizer: tokenizer of the text tower.
        name: short identity, such as "ViT-B-16/openai".
        image_size: side of the square input images in pixels.
        preprocessing: resizing and normalization of its images.
        settings: options of `load_model` besides the source that load the same model again.
    """

    model: nn.Module
    tokenizer: Tokenizer
    name: str
    image_size: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    settings: Mapping[str, Any] = field(default_factory=dict)


def square_size(model: Any) -> int:
    """Return the input size of an open_clip model in pixels, or raise VLPromptError if it is not square."""
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise VLPromptError(f"the model reads images of {height} x {width} pixels; only square ones are supported")
    return int(height)


def build_clip(
    weights: Mapping[str, Tensor],
    *,
    heads: tuple[int, int] | None = None,
    quick_gelu: bool | None = None,
    eps: tuple[float, float] = (1e-5, 1e-5),
) -> CLIP:
    """Build an open_clip `CLIP` around `weights`, in fp32; tensors that are fp32 on the CPU are shared, not copied.

    Args:
        weights: state dict in OpenAI's naming.
        heads: number of attention heads (text, image), which shapes do not determine; default: one per 64 channels.
        quick_gelu: whether the activation is QuickGELU; default: True, as in OpenAI's models.
        eps: epsilon of the layer norms (text, image).

    Raises:
        VLPromptError: an entry is missing, unknown or has the wrong shape; the message names the first.
    """
    if heads is None and quick_gelu is None:
        logger.info(
            "the state dict does not record heads and activation; assuming one head per 64 channels and QuickGELU"
        )
    state = _expand_vocabulary(weights)
    with torch.device("meta"):
        model = CLIP(
            embed_dim=_shape(state, "text_projection", 2)[1],
            vision_cfg=_vision_config(state, heads[1] if heads else None, eps[1]),
            text_cfg=_text_config(state, heads[0] if heads else None, eps[0]),
            quick_gelu=quick_gelu is not False,
        )
    _assign(model, state)
    return model


def _text_config(state: Mapping[str, Tensor], heads: int | None, eps: float) -> CLIPTextCfg:
    vocabulary, width = _shape(state, "token_embedding.weight", 2)
    return CLIPTextCfg(
        context_length=_shape(state, "positional_embedding", 2)[0],
        vocab_size=vocabulary,
        width=width,
        heads=_heads(width, heads, "text"),
        layers=_layers(state, "transformer.resblocks."),
        mlp_ratio=_mlp_ratio(state, "transformer.resblocks.0.mlp.c_fc.weight"),
        norm_kwargs={"eps": eps},
    )


def _vision_config(state: Mapping[str, Tensor], heads: int | None, eps: float) -> CLIPVisionCfg:
    if "visual.attnpool.positional_embedding" in state:
        return _resnet_config(state, heads)
    width, _, height, patch_size = _shape(state, "visual.conv1.weight", 4)
    positions = _shape(state, "visual.positional_embedding", 2)[0]
    if height != patch_size:
        raise VLPromptError(
            f"the image tower has patches of {height} x {patch_size} pixels; only square ones are supported"
        )
    return CLIPVisionCfg(
        image_size=patch_size * _grid(positions),
        patch_size=patch_size,
        width=width,
        head_width=width // _heads(width, heads, "image"),
        layers=_layers(state, "visual.transformer.resblocks."),
        mlp_ratio=_mlp_ratio(state, "visual.transformer.resblocks.0.mlp.c_fc.weight"),
        norm_kwargs={"eps": eps},
    )


def _resnet_config(state: Mapping[str, Tensor], heads: int | None) -> CLIPVisionCfg:
    width = _shape(state, "visual.layer1.0.conv1.weight", 4)[0]
    positions, pooled_width = _shape(state, "visual.attnpool.positional_embedding", 2)
    layers = [_layers(state, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)]
    return CLIPVisionCfg(
        image_size=_RESNET_STRIDE * _grid(positions),
        width=width,
        head_width=pooled_width // _heads(pooled_width, heads, "image"),
        layers=(layers[0], layers[1], layers[2], layers[3]),
    )


def _expand_vocabulary(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Expand a token table that is stored as `rows` at `ids`; all other rows are zero."""
    state = dict(weights)
    if "token_embedding.ids" in state and "token_embedding.rows" in state:
        ids, rows = state.pop("token_embedding.ids"), state.pop("token_embedding.rows")
        table = torch.zeros(CLIP_VOCABULARY_SIZE, rows.shape[1])
        table[ids.long()] = rows.float()
        state["token_embedding.weight"] = table
    return state


def _assign(model: CLIP, state: Mapping[str, Tensor]) -> None:
    expected = model.state_dict()
    values: dict[str, Tensor] = {}
    for name, wanted in expected.items():
        if name.endswith(".num_batches_tracked"):  # a training counter that some files omit
            values[name] = torch.zeros((), dtype=torch.long)
            continue
        if name not in state:
            raise VLPromptError(f"weight {name!r} is missing; {_LAYOUT_HINT}")
        value = state[name].detach()
        if value.shape != wanted.shape:
            shapes = f"{tuple(wanted.shape)}, got {tuple(value.shape)}"
            raise VLPromptError(f"weight {name!r} must have shape {shapes}; {_LAYOUT_HINT}")
        values[name] = value.to("cpu", torch.float32)
    unknown = next((name for name in state if name not in expected), None)
    if unknown is not None:
        raise VLPromptError(f"weight {unknown!r} is unknown; {_LAYOUT_HINT}")
    model.load_state_dict(values, assign=True)
    # The mask is not in the state dict, so it is still on the meta device.
    length = model.context_length
    model.attn_mask = torch.full((length, length), -math.inf).triu_(1)


def _shape(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in state:
        raise VLPromptError(f"weight {name!r} is missing; {_LAYOUT_HINT}")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise VLPromptError(f"weight {name!r} must have {dimensions} dimensions, got shape {shape}; {_LAYOUT_HINT}")
    return shape


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    parts = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    indices = {int(part) for part in parts if part.isdecimal() and len(part) <= 4}
    if len(parts) > MAX_LAYERS:
        raise VLPromptError(f"the weights have {len(parts)} layers under {prefix!r}, more than {MAX_LAYERS}")
    missing = next(index for index in range(len(indices) + 1) if index not in indices)
    if missing < max(1, len(indices)):
        raise VLPromptError(f"weight {prefix + str(missing)!r} is missing; {_LAYOUT_HINT}")
    return len(indices)


def _heads(width: int, heads: int | None, tower: str) -> int:
    count = heads if heads is not None else width // 64
    if count < 1 or width % count:
        raise VLPromptError(
            f"`heads` must divide the width {width} of the {tower} tower, got {count!s:.20}; "
            "pass the heads=(text, image) that the model was trained with"
        )
    return count


def _grid(positions: int) -> int:
    side = math.isqrt(positions - 1)
    if side * side != positions - 1:
        raise VLPromptError(f"the image tower has {positions - 1} patch positions; only square grids are supported")
    return side


def _mlp_ratio(state: Mapping[str, Tensor], name: str) -> float:
    hidden, width = _shape(state, name, 2)
    return (hidden + 0.5) / width  # open_clip truncates width * ratio, which must result in `hidden`
