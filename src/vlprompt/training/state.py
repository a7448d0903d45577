"""The state of an unfinished run, in one file, so that no kill can tear its parts from one another."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.optim import Optimizer

from vlprompt.errors import VLPromptError
from vlprompt.files import atomic_write
from vlprompt.methods import Method
from vlprompt.training.record import Epoch

FILE = "state.safetensors"


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
    path = folder / FILE
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        tensors = load_file(path, device=str(method.backbone.device))
    except SafetensorError as error:
        raise VLPromptError(f"{path} is damaged ({error}); delete the folder and start again") from error
    if about["result_hash"] != result_hash:
        raise VLPromptError(
            f"{folder} holds a run with other settings, images or weights, so it cannot go on as this one; "
            f"see `vlprompt info {folder}`, or choose another --out"
        )
    method.load_prompts({k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")})
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, slot = key.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    state = optimizer.state_dict()
    optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
    history = [Epoch(**epoch) for epoch in json.loads(about["history"])]
    return history, json.loads(about["seconds"]), json.loads(about["scaler"])


def read_progress(folder: Path) -> tuple[list[Epoch], dict[str, float]]:
    """History and seconds spent, as the saved state has them."""
    with safe_open(folder / FILE, "pt") as file:
        about = file.metadata()
    return [Epoch(**epoch) for epoch in json.loads(about["history"])], json.loads(about["seconds"])


def save_prompts(folder: Path, method: Method[Any]) -> None:
    """Write `prompts.safetensors`: parameters and buffers of the method, never the backbone."""
    tensors = {name: value.contiguous().cpu() for name, value in method.state_dict().items()}
    atomic_write(folder / "prompts.safetensors", save(tensors, {"method": method.name}))


def load_prompts(folder: Path, method: Method[Any]) -> None:
    """Put `prompts.safetensors` into a method that was created with the run's options."""
    path = folder / "prompts.safetensors"
    try:
        method.load_prompts(load_file(path))
    except FileNotFoundError as error:
        raise VLPromptError(f"{folder} has no prompts.safetensors yet; let `vlprompt tune` end an epoch") from error
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise VLPromptError(f"{path} does not fit the run's method: {reason}") from error
