"""State dicts from files: safetensors, PyTorch checkpoints, TorchScript archives."""

import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.jit import _pickle as jit

from vlprompt.errors import VLPromptError
from vlprompt.utils.text import first_line

_NOT_WEIGHTS = (
    "input_resolution",
    "context_length",
    "vocab_size",
)  # numbers OpenAI's archives keep as buffers
# What stands around lists and mappings among a module's attributes; all of them give back what they are given.
_CONTAINERS = (
    jit.restore_type_tag,
    jit.build_intlist,
    jit.build_doublelist,
    jit.build_boollist,
    jit.build_tensorlist,
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, on the CPU, under the names they were stored with.

    A `{"state_dict": ...}` wrapper and a `module.` prefix are taken off. A PyTorch checkpoint is read with
    `weights_only=True`, and so are the weights of a TorchScript archive, whose code is left alone.
    Raises VLPromptError naming a file that can't be read.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # of its header, or of a type that PyTorch has not
            raise VLPromptError(f"{path} is not a readable safetensors file ({first_line(error)})") from error
    try:
        read = _read_archive(path) if is_torchscript(path) else torch.load(path, map_location="cpu", weights_only=True)
        state = unwrap(read)
        if strange := [name for name, value in state.items() if not is_plain(value)]:
            raise VLPromptError(f"{path} holds no values for {strange[0]!r}; save its state dict, best as .safetensors")
        return state
    except VLPromptError:
        raise
    except Exception as error:  # whatever unpickling meets
        raise VLPromptError(
            f"{path} holds no weights that can be read safely ({first_line(error)}); "
            "save its state dict, best as .safetensors"
        ) from error


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive, such as OpenAI's published CLIP files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # no archive, or a damaged one: then whoever reads it as a checkpoint says so
        return False


def _read_archive(path: Path) -> dict[str, Tensor]:
    """The weights of a TorchScript archive, under the names of its modules.

    `torch.jit.load` would run the code by which an archive restores its modules. Here nothing of it but its data goes
    to PyTorch's restricted reader, and empty classes stand for those of the modules.
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
                    raise ValueError(f"{prefix}{name} is a module that is there twice")
                seen.add(id(value))
                left.append((f"{prefix}{name}.", value))
    return state


class _Module:
    """Takes the place of a TorchScript module: its parameters, buffers and modules, and no code."""

    parts: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise ValueError("a module that is restored by code of its own")
        self.parts = state


def unwrap(content: Any) -> dict[str, Tensor]:
    """The state dict inside what training scripts save. Raises VLPromptError where there is none."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise VLPromptError(f"expected a mapping of names to tensors, found {type(content).__name__}")
    state = {str(name).removeprefix("module."): value for name, value in content.items()}
    for name in _NOT_WEIGHTS:
        state.pop(name, None)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise VLPromptError(f"entry {name!r} of the state dict is a {type(value).__name__}, not a tensor")
    return state


def is_plain(value: object) -> bool:
    """Whether it is a tensor with a number of its own in each place, and so no larger than its file."""
    return (
        isinstance(value, Tensor)
        and (value.device.type, value.layout) == ("cpu", torch.strided)
        and not (value.is_quantized or value.is_complex())
        and value.numel() <= value.untyped_storage().nbytes()
    )
