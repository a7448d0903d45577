"""State dicts from files: safetensors, PyTorch checkpoints, TorchScript archives."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlprompt.errors import VLPromptError

_NOT_WEIGHTS = (
    "input_resolution",
    "context_length",
    "vocab_size",
)  # numbers OpenAI's archives keep as buffers


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, on the CPU, under the names they were stored with.

    A `{"state_dict": ...}` wrapper and a `module.` prefix are taken off. A PyTorch checkpoint is read with
    `weights_only=True`. A TorchScript archive can't be: PyTorch deserialises its code together with its
    weights, of which only the weights are used and nothing is called; take archives from sources you trust.
    Raises VLPromptError naming a file that can't be read.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise VLPromptError(f"{path} is not a readable safetensors file ({first_line(error)})") from error
    try:
        if is_torchscript(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # that archives are deprecated: OpenAI's stay ones
                return unwrap(torch.jit.load(path, map_location="cpu").state_dict())
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except VLPromptError:
        raise
    except Exception as error:  # whatever unpickling meets
        raise VLPromptError(
            f"{path} holds no weights that can be read safely ({first_line(error)}); "
            "save its state dict, best as .safetensors"
        ) from error


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive, such as OpenAI's published CLIP files."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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


def first_line(error: BaseException) -> str:
    """What to quote of an error of another library."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
