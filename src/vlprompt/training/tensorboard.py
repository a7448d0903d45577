"""A run's history as TensorBoard reads it."""

from importlib.util import find_spec
from pathlib import Path

from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from vlprompt.config.schema import RuntimeConfig
from vlprompt.errors import VLPromptError
from vlprompt.runs.record import Epoch

FOLDER = "tensorboard"


def check_tensorboard(runtime: RuntimeConfig) -> None:
    """VLPromptError where a run is to write for TensorBoard, which is not installed."""
    if runtime.tensorboard and find_spec("tensorboard") is None:
        raise VLPromptError("runtime.tensorboard=true needs TensorBoard; pip install tensorboard, or leave it out")


def event_loggers(runtime: RuntimeConfig, folder: Path) -> list[Logger]:
    """What Fabric logs to: events in `folder`/tensorboard, or nothing."""
    return [TensorBoardLogger(folder, name="", version=FOLDER)] if runtime.tensorboard else []


def scalars(epoch: Epoch) -> dict[str, float]:
    """The numbers of an epoch by the names they have in TensorBoard: of the losses, `loss/` and theirs."""
    losses = {f"loss/{name}": value for name, value in epoch.losses.items()}
    return {"accuracy": epoch.accuracy, "lr": epoch.lr, "images_per_second": epoch.images_per_second, **losses}
