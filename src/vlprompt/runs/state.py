"""The state of an unfinished run, in one file, so that no kill can tear its parts from one another."""

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

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.record import Epoch
from vlprompt.utils.files import atomic_write, leftovers

FILE = "state.safetensors"
PROMPTS = "prompts.safetensors"
# What each optimizer keeps of a parameter; momentum is all that is left out, where it is 0.
SLOTS = {"SGD": {"momentum_buffer"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}}


class About(BaseModel):
    """What the state holds beside its tensors."""

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
    """Write everything that going on after the last epoch of `history` needs.

    There are no random states in it: shuffling, augmentation and dropout are seeded by (seed, epoch).
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
    """Put the saved state back; returns history, seconds spent and the scaler's state.

    Raises:
        VLPromptError: the file is damaged, or belongs to a run with other settings, data or weights.
    """
    try:
        metadata, tensors = _read(folder / FILE, str(method.backbone.device))
        about = About.model_validate(metadata)
        if about.result_hash == result_hash:
            _put(method, {k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")})
            _put_optimizer(optimizer, {k: v for k, v in tensors.items() if not k.startswith("method.")})
    except Exception as error:  # whatever a damaged file leads to
        raise _damaged(folder, error) from error
    if about.result_hash != result_hash:
        raise VLPromptError(
            f"{folder} holds a run with other settings, images or weights, so it cannot go on as this one; "
            f"see `vlprompt info {folder}`, or choose another --out"
        )
    return about.history, about.seconds, about.scaler


def read_progress(folder: Path) -> tuple[list[Epoch], dict[str, float]]:
    """History and seconds spent, as the saved state has them. VLPromptError where it is damaged."""
    try:
        about = About.model_validate(_read(folder / FILE)[0])
    except Exception as error:
        raise _damaged(folder, error) from error
    return about.history, about.seconds


def save_prompts(folder: Path, method: Method[Any]) -> None:
    """Write `prompts.safetensors`: parameters and buffers of the method, never the backbone."""
    atomic_write(folder / PROMPTS, prompts_file(method))


def prompts_file(method: Method[Any]) -> bytes:
    """What `save_prompts` writes."""
    tensors = {name: value.contiguous().cpu() for name, value in method.state_dict().items()}
    # One entry, since several would come in any order, and the same prompts are to be the same file.
    return save(tensors, {"owner": json.dumps(_owner(method))})


def load_prompts(folder: Path, method: Method[Any], prompts_hash: str | None = None) -> None:
    """Put `prompts.safetensors` into a method that was created with the run's options.

    Args:
        folder: of the run.
        method: gets them.
        prompts_hash: of the file, where its record has one.

    Raises:
        VLPromptError: there is none, it is damaged, or of another method, other classes, another backbone or hash.
    """
    path = folder / PROMPTS if prompts_hash is None else _saved_prompts(folder, prompts_hash)
    try:
        metadata, tensors = _read(path)
        said = json.loads(metadata.get("owner", "{}"))  # nothing in a file of an earlier version
        for what, value in _owner(method).items():
            if said.get(what, value) != value:
                raise ValueError(f"it is of another {what}")
        _put(method, tensors)
    except FileNotFoundError as error:
        raise VLPromptError(f"{folder} has no prompts.safetensors yet; let `vlprompt tune` end an epoch") from error
    except Exception as error:  # whatever a damaged file leads to
        raise VLPromptError(f"{path} does not fit the run's method: {_reason(error)}") from error


def _saved_prompts(folder: Path, prompts_hash: str) -> Path:
    """The prompts of a record; a kill after the record's turn leaves them under the name that they had until then."""
    for path in (folder / PROMPTS, *leftovers(folder, (PROMPTS,))):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == prompts_hash:
            return path
    raise VLPromptError(f"{folder} lacks the {PROMPTS} that its record was saved with; save the classifier again")


def _owner(method: Method[Any]) -> dict[str, Any]:
    """What prompts belong to; classes only where each has something of its own."""
    about = {"method": method.name, "backbone": method.backbone.weight_hash}
    return about | ({"list of classes": list(method.class_names)} if method.class_bound else {})


def _read(path: Path, device: str = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, "pt", device=device) as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _put(method: Method[Any], tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        # A probe's bias is -inf for a class that it was shown no image of.
        if value.isnan().any() or value.isposinf().any() or (value.isneginf().any() and name != "bias"):
            raise ValueError(f"{name} holds values that are no numbers, as training with too high an optim.lr leaves")
    method.load_prompts(tensors)
    for name, value in method.state_dict().items():
        if tensors[name].dtype != value.dtype:
            raise ValueError(f"{name} holds {tensors[name].dtype}, and {value.dtype} is needed")


def _put_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, place, slot = key.split(".")
        slots.setdefault(int(place), {})[slot] = value
    shapes = dict(enumerate(parameter.shape for group in optimizer.param_groups for parameter in group["params"]))
    for index, kept in slots.items():
        needed = {slot: torch.Size() if slot == "step" else shapes[index] for slot in SLOTS[type(optimizer).__name__]}
        if {slot: value.shape for slot, value in kept.items()} != needed:
            raise ValueError("its optimizer is another one")
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def _damaged(folder: Path, error: Exception) -> VLPromptError:
    return VLPromptError(f"{folder / FILE} is damaged ({_reason(error)}); delete the folder and start again")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
