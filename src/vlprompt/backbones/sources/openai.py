"""Weights under the names of OpenAI's CLIP: the architecture is read off their shapes."""

import logging
import math
from collections.abc import Mapping

import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor

from vlprompt.backbones.tokenizer import CLIP_VOCABULARY_SIZE
from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

_LAYOUT_HINT = "is it in OpenAI's CLIP naming? Other models load by their open_clip name, NAME/PATH"
_RESNET_STRIDE = 32


def build_clip(
    weights: Mapping[str, Tensor],
    *,
    heads: tuple[int, int] | None = None,
    quick_gelu: bool | None = None,
    eps: tuple[float, float] = (1e-5, 1e-5),
) -> CLIP:
    """An open_clip `CLIP` around `weights`, in fp32; what is fp32 on the CPU already is shared, not copied.

    Weights don't say everything: `heads` (text, image) is one per 64 of width and `quick_gelu` true unless
    given, as in OpenAI's models; `eps` (text, image) is that of the layer norms.
    Raises VLPromptError naming the first entry that is missing, unknown or of another shape.
    """
    if heads is None and quick_gelu is None:
        logger.info("weights name neither heads nor activation: one head per 64 of width and QuickGELU assumed")
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
        raise VLPromptError(f"the image tower's patches are {height} x {patch_size} pixels; they have to be square")
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
    """The token table in full, where only some `rows` are stored: those at `ids`; the others are zero."""
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
        if name.endswith(".num_batches_tracked"):  # training's count of batches; not every copy kept it
            values[name] = torch.zeros((), dtype=torch.long)
            continue
        if name not in state:
            raise VLPromptError(f"the weights have no {name!r}; {_LAYOUT_HINT}")
        value = state[name].detach()
        if value.shape != wanted.shape:
            shapes = f"{tuple(value.shape)}, expected {tuple(wanted.shape)}"
            raise VLPromptError(f"weight {name!r} has shape {shapes}; {_LAYOUT_HINT}")
        values[name] = value.to("cpu", torch.float32)
    unknown = next((name for name in state if name not in expected), None)
    if unknown is not None:
        raise VLPromptError(f"the weights hold an unknown {unknown!r}; {_LAYOUT_HINT}")
    model.load_state_dict(values, assign=True)
    # Not part of a state dict, so still on the meta device.
    length = model.context_length
    model.attn_mask = torch.full((length, length), -math.inf).triu_(1)


def _shape(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in state:
        raise VLPromptError(f"the weights have no {name!r}; {_LAYOUT_HINT}")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise VLPromptError(f"weight {name!r} has shape {shape}, expected {dimensions} dimensions; {_LAYOUT_HINT}")
    return shape


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    parts = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    indices = {int(part) for part in parts if part.isdecimal()}
    missing = next(index for index in range(len(indices) + 1) if index not in indices)
    if missing < max(1, len(indices)):
        raise VLPromptError(f"the weights have no {prefix + str(missing)!r}; {_LAYOUT_HINT}")
    return len(indices)


def _heads(width: int, heads: int | None, tower: str) -> int:
    count = heads if heads is not None else width // 64
    if count < 1 or width % count:
        raise VLPromptError(
            f"heads: a width of {width} does not divide into {count} heads; give heads=(text, image) "
            f"with the {tower} tower's own count"
        )
    return count


def _grid(positions: int) -> int:
    side = math.isqrt(positions - 1)
    if side * side != positions - 1:
        raise VLPromptError(f"the image tower has {positions - 1} patch positions, which make no square grid")
    return side


def _mlp_ratio(state: Mapping[str, Tensor], name: str) -> float:
    hidden, width = _shape(state, name, 2)
    return (hidden + 0.5) / width  # open_clip truncates width * ratio, which has to give `hidden` back
