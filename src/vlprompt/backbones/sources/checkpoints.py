"""Read state dicts from files: safetensors, PyTorch checkpoints, TorchScript archives."""

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.jit import _pickle as jit

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import first_line, listed

# Numbers that OpenAI's archives keep as buffers, and PyTorch's `AveragedModel`.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "n_averaged")
# Entries under which training scripts save a state dict; averaged weights only where there are no others.
_ENTRIES = ("state_dict", "model_state_dict", "model", "module", "state_dict_ema", "model_ema", "ema_state_dict", "ema")
# Modules that PyTorch wraps around others: DataParallel, compile, FSDP and activation checkpointing.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_SCALE = "logit_scale"  # the parameter of every CLIP that belongs to neither tower
# TorchScript's wrappers of lists and mappings in a module's attributes; all of them return their argument.
_CONTAINERS = (
    jit.restore_type_tag,
    jit.build_intlist,
    jit.build_doublelist,
    jit.build_boollist,
    jit.build_tensorlist,
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint file, on the CPU, by their names.

    Wrappers of training scripts are removed, see `unwrap`. PyTorch checkpoints, and the weights of
    TorchScript archives, are read with `weights_only=True`; code in an archive is not run.

    Raises:
        VLPromptError: the file cannot be read, or contains anything other than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return unwrap(load_file(path))
        except VLPromptError:
            raise
        except Exception as error:  # a bad header, or a type that PyTorch lacks
            raise VLPromptError(f"{path} is not a readable safetensors file ({first_line(error)})") from error
    try:
        read = _read_archive(path) if is_torchscript(path) else torch.load(path, map_location="cpu", weights_only=True)
        state = unwrap(read)
        if strange := [name for name, value in state.items() if not is_plain(value)]:
            raise VLPromptError(
                f"{strange[0]!r} in {path} must be a dense tensor; save its state dict, preferably as .safetensors"
            )
        return state
    except VLPromptError:
        raise
    except Exception as error:  # unpickling an untrusted file can raise anything
        raise VLPromptError(
            f"{path} cannot be read safely as weights ({first_line(error)}); "
            "save its state dict, preferably as .safetensors"
        ) from error


def is_torchscript(path: Path) -> bool:
    """Return whether the file is a TorchScript archive, such as OpenAI's published CLIP files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # not an archive, or a damaged one: reading it as a checkpoint gives the error
        return False


def _read_archive(path: Path) -> dict[str, Tensor]:
    """Return the weights of a TorchScript archive, by their names in its modules.

    `torch.jit.load` would run code in the archive to restore its modules. Here only the data is read, by PyTorch's
    restricted unpickler, with empty classes in place of the modules.
    """
    data, modules = io.BytesIO(), set[str]()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(data, "w") as copy:
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if name in ("data.pkl", "version", "byteorder") or name.startswith("data/"):
                copy.writestr(f"archive/{name}", content := archive.read(entry))
            if name == "data.pkl":
                named = {str(argument) for code, argument, _ in pickletools.genops(content) if code.name == "GLOBAL"}
                modules |= {kind.replace(" ", ".") for kind in named if kind.startswith("__torch__")}
    data.seek(0)
    places = [name.rpartition(".") for name in modules]
    stand_ins: list[Any] = [type(name, (_Module,), {"__module__": place}) for place, _, name in places]
    with torch.serialization.safe_globals([*stand_ins, *_CONTAINERS]):
        root = torch.load(data, map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = {}
    left, seen = [("", root)], {id(root)}
    while left:
        prefix, module = left.pop()
        for name, value in module.parts.items():
            if isinstance(value, Tensor):
                state[f"{prefix}{name}"] = value
            elif isinstance(value, _Module):
                if id(value) in seen:
                    raise ValueError(f"module {prefix}{name} appears twice")
                seen.add(id(value))
                left.append((f"{prefix}{name}.", value))
    return state


class _Module:
    """Stand-in for a TorchScript module: its parameters, buffers and submodules, without code."""

    parts: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise ValueError("a module is restored by code in the archive")
        self.parts = state


def unwrap(content: Any) -> dict[str, Tensor]:
    """Return the state dict in the checkpoint of a training script.

    Entries such as `{"model": {"state_dict": ...}}` are opened, names lose the wrappers of DataParallel,
    `torch.compile` and FSDP, and of a larger module (Lightning's, or one with an averaged copy) only the model inside
    is returned.

    Raises:
        VLPromptError: the checkpoint holds no state dict, or several.
    """
    while isinstance(content, Mapping):
        inner = next((content[entry] for entry in _ENTRIES if isinstance(content.get(entry), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise VLPromptError(f"a checkpoint must be a mapping of names to tensors, got {type(content).__name__}")
    state = {without_wrappers(str(name)): value for name, value in content.items()}
    for name in _NOT_WEIGHTS:
        state.pop(name, None)
    prefix = _prefix(state)
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise VLPromptError(f"entry {name!r} of the state dict must be a tensor, got {type(value).__name__}")
    return state


def without_wrappers(name: str) -> str:
    """Return the name of a weight without the modules that PyTorch wraps around others.

    Examples:
        >>> without_wrappers("module._orig_mod.visual.proj")
        'visual.proj'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefix(state: Mapping[str, Any]) -> str:
    """Return the prefix of the model's names in those of a larger module; "" if the model is all there is."""
    found = {name.removesuffix(_SCALE) for name in state if name == _SCALE or name.endswith(f".{_SCALE}")}
    # Some attention layers have a scale of their own.
    outer = {prefix for prefix in found if not any(prefix != other and prefix.startswith(other) for other in found)}
    if not outer:
        return "model." if state and all(name.startswith("model.") for name in state) else ""
    learned = {
        prefix for prefix in outer if not {"ema", "averaged", "teacher"} & set(re.split(r"[._]", prefix))
    } or outer
    if len(learned) > 1:
        raise VLPromptError(f"the checkpoint holds several models ({listed(sorted(learned))}); save one alone")
    return learned.pop()


def check_naming(weights: Mapping[str, Tensor], source: object) -> None:
    """Raise VLPromptError if the weights have Hugging Face's names, which need the `config.json` beside them."""
    if any(name.startswith(("text_model.", "vision_model.")) for name in weights):
        raise VLPromptError(
            f"{source} has Hugging Face's names, and its heads and activation are in config.json; pass the folder that "
            "holds both"
        )


def is_plain(value: object) -> bool:
    """Return whether a value is a dense CPU tensor that stores every entry, and so is no larger than its file."""
    return (
        isinstance(value, Tensor)
        and (value.device.type, value.layout) == ("cpu", torch.strided)
        and not (value.is_quantized or value.is_complex())
        and value.numel() <= value.untyped_storage().nbytes()
    )
