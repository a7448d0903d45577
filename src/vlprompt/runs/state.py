"""Files of a run folder besides its record: the learned prompts, and the state to resume training from.

The state is a single file, so that a killed process cannot leave parts of different epochs.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Json, ValidationError
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.record import BackboneRecord, Epoch
from vlprompt.utils.files import atomic_write, leftovers
from vlprompt.utils.strings import describe_validation_error

FILE = "state.safetensors"
PROMPTS = "prompts.safetensors"
# State of each optimizer per parameter. SGD without momentum has none.
SLOTS = {"SGD": {"momentum_buffer"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}}


class StateMetadata(BaseModel):
    """Metadata of the state file: everything but tensors."""

    result_hash: str
    history: Json[list[Epoch]]
    seconds: Json[dict[str, float]]
    scaler: Json[dict[str, Any]]


def save_state(
    folder: Path,
    method: Method[Any],
    optimizer: Optimizer,
    history: list[Epoch],
    *,
    result_hash: str,
    seconds: dict[str, float],
    scaler: dict[str, Any],
) -> None:
    """Write the state to resume from after the last epoch of `history`.

    It contains no random states: shuffling, augmentation and dropout are seeded by (seed, epoch).
    """
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items() if value is not None}
    about = {
        "result_hash": result_hash,
        "history": json.dumps([epoch.model_dump() for epoch in history]),
        "seconds": json.dumps(seconds),
        "scaler": json.dumps(scaler),
    }
    atomic_write(folder / FILE, save({key: value.contiguous() for key, value in tensors.items()}, about))


def load_state(
    folder: Path, method: Method[Any], optimizer: Optimizer, *, result_hash: str
) -> tuple[list[Epoch], dict[str, float], dict[str, Any]]:
    """Load the state file into a method and its optimizer.

    Returns:
        the history, the seconds spent by kind of work, and the gradient scaler's state.

    Raises:
        VLPromptError: the file is damaged, or belongs to a run with other settings, data or weights.
    """
    try:
        metadata, tensors = _read(folder / FILE, str(method.backbone.device))
        about = StateMetadata.model_validate(metadata)
        if about.result_hash == result_hash:
            _put(method, {k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")})
            _put_optimizer(optimizer, {k: v for k, v in tensors.items() if not k.startswith("method.")})
    except Exception as error:  # a damaged file can raise almost anything
        raise _damaged(folder, error) from error
    if about.result_hash != result_hash:
        raise VLPromptError(
            f"{folder} holds the state of a run with other settings, images or weights; choose another folder as `out`"
        )
    return about.history, about.seconds, about.scaler


def read_progress(folder: Path) -> tuple[list[Epoch], dict[str, float]]:
    """Read history and seconds from the state file.

    Raises:
        VLPromptError: the file is damaged.
    """
    try:
        about = StateMetadata.model_validate(_read(folder / FILE)[0])
    except Exception as error:  # a damaged file can raise almost anything
        raise _damaged(folder, error) from error
    return about.history, about.seconds


def save_prompts(folder: Path, method: Method[Any]) -> None:
    """Write `prompts.safetensors`: the method's parameters and buffers, without the backbone."""
    atomic_write(folder / PROMPTS, prompts_file(method))


def prompts_file(method: Method[Any]) -> bytes:
    """Return the bytes that `save_prompts` writes."""
    tensors = {name: value.contiguous().cpu() for name, value in method.state_dict().items()}
    # A single entry: safetensors writes several in arbitrary order, and equal prompts should give equal files.
    return save(tensors, {"owner": json.dumps(_owner(method))})


def load_prompts(folder: Path, method: Method[Any], prompts_hash: str | None = None) -> None:
    """Load `prompts.safetensors` into a method that was created with the run's options.

    Args:
        folder: the run's folder.
        method: method to load the prompts into.
        prompts_hash: SHA-256 of the file, if the record has it.

    Raises:
        VLPromptError: the file is missing or damaged, has another hash, or belongs to another method, other classes or
            another backbone.
    """
    path = folder / PROMPTS if prompts_hash is None else _saved_prompts(folder, prompts_hash)
    try:
        metadata, tensors = _read(path)
        owner = json.loads(metadata.get("owner", "{}"))  # older files have no owner
        for what, value in _owner(method).items():
            if owner.get(what, value) != value:
                raise ValueError(f"it was saved for another {what}")
        _put(method, tensors)
    except FileNotFoundError as error:
        raise VLPromptError(f"{folder} has no {PROMPTS} yet; its run has not finished an epoch") from error
    except Exception as error:  # a damaged file can raise almost anything
        raise VLPromptError(f"{path} does not fit the run's method: {_reason(error)}") from error


def _saved_prompts(folder: Path, prompts_hash: str) -> Path:
    """Find the prompts file with the given hash; a kill during saving may have left its temporary name."""
    for path in (folder / PROMPTS, *leftovers(folder, (PROMPTS,))):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == prompts_hash:
            return path
    raise VLPromptError(f"{folder} has no {PROMPTS} with the recorded hash; save the classifier again")


def backbone_record(backbone: Backbone) -> BackboneRecord:
    """Return the identity of a loaded backbone, for a record."""
    return BackboneRecord(
        name=backbone.name,
        weight_hash=backbone.weight_hash,
        embed_dim=backbone.embed_dim,
        image_size=backbone.image_size,
        function_hash=backbone.function_hash,
        preprocessing=backbone.preprocessing,
    )


def _owner(method: Method[Any]) -> dict[str, Any]:
    """Return what prompts belong to: method, backbone and, for class-bound methods, classes."""
    about = {"method": method.name, "backbone": method.backbone.weight_hash}
    return about | ({"list of classes": list(method.class_names)} if method.class_bound else {})


def _read(path: Path, device: str = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, "pt", device=device) as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _put(method: Method[Any], tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        # The linear probe's bias is -inf for a class without training images.
        if value.isnan().any() or value.isposinf().any() or (value.isneginf().any() and name != "bias"):
            raise ValueError(f"{name} holds non-finite values; training diverged, lower optim.lr")
    method.load_prompts(tensors)
    for name, value in method.state_dict().items():
        if tensors[name].dtype != value.dtype:
            raise ValueError(f"{name} must have dtype {value.dtype}, got {tensors[name].dtype}")


def _put_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, place, slot = key.split(".")
        slots.setdefault(int(place), {})[slot] = value
    shapes = dict(enumerate(parameter.shape for group in optimizer.param_groups for parameter in group["params"]))
    for index, kept in slots.items():
        needed = {slot: torch.Size() if slot == "step" else shapes[index] for slot in SLOTS[type(optimizer).__name__]}
        if {slot: value.shape for slot, value in kept.items()} != needed:
            raise ValueError("it was saved for another optimizer")
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def _damaged(folder: Path, error: Exception) -> VLPromptError:
    return VLPromptError(f"{folder / FILE} is damaged ({_reason(error)}); delete the folder and start again")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return describe_validation_error(error)
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
