"""The training loop: optimizer, learning rate, epochs, and logging to TensorBoard."""

import math
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from vlprompt.config.schema import OptimConfig, RunConfig, RuntimeConfig, steps_per_epoch
from vlprompt.data.image_set import EpochDataset
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.record import Epoch
from vlprompt.runs.state import FILE, load_state, save_prompts, save_state
from vlprompt.training.batches import Order, batch_order, load_batches
from vlprompt.training.distributed import MeanGradients, average_gradients, gather_batch, own_share
from vlprompt.training.step import Outcome, RecordedStep, StepFunction, can_be_recorded
from vlprompt.utils.machine import reader_count
from vlprompt.utils.progress import Bar
from vlprompt.utils.seeds import derived_seed

TENSORBOARD = "tensorboard"  # subfolder of the run folder for event files


def make_optimizer(method: Method[Any], optim: OptimConfig) -> Optimizer:
    """Create the optimizer for the method's trainable parameters."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if optim.optimizer == "sgd":
        return SGD(parameters, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
    return AdamW(parameters, lr=optim.lr, eps=optim.eps, weight_decay=optim.weight_decay)


def learning_rate(optim: OptimConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0.

    A constant warm-up is followed by a cosine schedule that starts at `lr`. As in Dassl, its period is all of `epochs`
    although it starts after the warm-up, so training ends before the rate reaches zero.
    """
    if epoch < optim.warmup_epochs:
        return optim.warmup_lr
    passed = (epoch - optim.warmup_epochs) / optim.epochs
    return 0.5 * optim.lr * (1 + math.cos(math.pi * passed))


def check_tensorboard(runtime: RuntimeConfig) -> None:
    """Raise VLPromptError if TensorBoard is requested but not installed."""
    if runtime.tensorboard and find_spec("tensorboard") is None:
        raise VLPromptError(
            "runtime.tensorboard=true needs TensorBoard; run `pip install tensorboard`, or leave it out"
        )


def make_fabric(config: RunConfig, device: torch.device, folder: Path) -> Fabric:
    """Create a Fabric for the backbone's device, or for this process's device of several.

    Only fp16 uses AMP with loss scaling.
    """
    precision: Literal["16-mixed", "32-true"] = "16-mixed" if config.backbone.precision == "fp16" else "32-true"
    loggers: list[Logger] = []
    if config.runtime.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version=TENSORBOARD))
    if config.runtime.devices > 1:
        # Ignores the environment variables of a cluster's scheduler, which describe its job and not our processes.
        fabric = Fabric(
            accelerator=device.type,
            strategy=MeanGradients(),
            devices=config.runtime.devices,
            precision=precision,
            plugins=LightningEnvironment(),
            loggers=loggers,
        )
        fabric.launch()
        return fabric
    devices: int | list[int] = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=devices, precision=precision, loggers=loggers)


def fit(
    method: Method[Any],
    train_set: EpochDataset,
    config: RunConfig,
    folder: Path,
    *,
    result_hash: str,
    resume: bool,
    history: list[Epoch],
    seconds: dict[str, float],
    bar: Bar,
) -> bool:
    """Train the method, and write its prompts and the run's state after every epoch.

    Args:
        method: prepared method, trained in place.
        train_set: samples (image or frozen feature, label, index).
        config: complete configuration.
        folder: existing run folder.
        result_hash: hash of the configuration and its inputs; a state with another hash is refused.
        resume: continue from the state in the folder, if there is one. The result is bitwise the same.
        history: list that gets an entry after each epoch, so that an interrupted run keeps its history.
        seconds: seconds spent so far by kind of work; "train" is updated in place, and restored when resuming.
        bar: progress bar, updated after every step.

    Returns:
        whether steps were recorded as a CUDA graph.
    """
    fabric = make_fabric(config, method.backbone.device, folder)
    optimizer = make_optimizer(method, config.optim)
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    if resume and (folder / FILE).exists():
        history[:], spent, scaler_state = load_state(folder, method, optimizer, result_hash=result_hash)
        seconds |= spent
        if scaler is not None:
            scaler.load_state_dict(scaler_state)
    wrapped, wrapped_optimizer = fabric.setup(method, optimizer)
    before = seconds.get("train", 0.0)
    begun = time.monotonic()
    images, epochs = len(train_set), range(len(history), config.optim.epochs)
    orders = ((epoch, own_share(_order(epoch, images, config), fabric)) for epoch in epochs)
    workers = reader_count(config.runtime.workers, fabric.device.type)
    step = _step(method, wrapped, fabric)
    recorded = RecordedStep(step, method) if can_be_recorded(config, fabric.device) else None
    loaded = load_batches(train_set, orders, fabric.device, workers=workers)
    for epoch in epochs:
        method.train()
        history.append(_epoch(epoch, images, recorded or step, wrapped_optimizer, fabric, loaded, config, bar))
        method.on_epoch_end(epoch + 1)
        if recorded and type(method).on_epoch_end is not Method.on_epoch_end:
            recorded.forget()
        seconds["train"] = before + time.monotonic() - begun
        if fabric.is_global_zero:
            save_prompts(folder, method)
            save_state(
                folder,
                method,
                optimizer,
                history,
                result_hash=result_hash,
                seconds=seconds,
                scaler={} if scaler is None else scaler.state_dict(),
            )
        fabric.log_dict(_scalars(history[-1]), step=epoch + 1)
        for logger in fabric.loggers:
            logger.save()
    return recorded is not None and recorded.recorded


def _step(method: Method[Any], wrapped: torch.nn.Module, fabric: Fabric) -> StepFunction:
    """Return a function that computes the losses of a batch and the gradients, averaged over all devices."""

    def take(inputs: Tensor, labels: Tensor, index: Tensor) -> Outcome:
        prediction = wrapped(inputs)
        prediction.extras["index"] = index
        if method.whole_batch and fabric.world_size > 1:
            prediction, labels = gather_batch(method, prediction, labels, fabric)
        terms = method.loss(prediction, labels)
        method.backward(terms, fabric)
        average_gradients(method, fabric)
        return Outcome(terms, (prediction.logits.argmax(1) == labels).sum(), len(labels))

    return take


def _order(epoch: int, images: int, config: RunConfig) -> Order:
    return batch_order(images, config.optim.batch_size, derived_seed("epoch", config.seed, epoch))


def _epoch(
    epoch: int,
    images: int,
    take: StepFunction,
    optimizer: Optimizer,
    fabric: Fabric,
    loaded: Iterator[list[Tensor]],
    config: RunConfig,
    bar: Bar,
) -> Epoch:
    """Train for an epoch over `images` images, on the next batches that are loaded. No step waits for the device."""
    steps, batch_size = steps_per_epoch(images, config.optim.batch_size), min(images, config.optim.batch_size)
    torch.manual_seed(derived_seed("epoch", config.seed, epoch))
    lr = learning_rate(config.optim, epoch)
    for group in optimizer.param_groups:
        group["lr"] = lr
    totals: dict[str, Tensor] = {}
    correct, seen, begun = torch.zeros((), device=fabric.device), 0, time.monotonic()

    def note() -> str:
        rate = step * batch_size / (time.monotonic() - begun)
        losses = "  ".join(f"{name.replace('_', ' ')} {value.item() / seen:.3f}" for name, value in totals.items())
        return f"epoch {epoch + 1}/{config.optim.epochs}  {rate:.0f} images/s  {losses}"

    for step, (inputs, labels, index) in enumerate(islice(loaded, steps), start=1):
        optimizer.zero_grad(set_to_none=True)
        terms, right, count = take(inputs, labels, index)
        optimizer.step()
        for name, value in terms.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach() * count
        correct += right
        seen += count
        bar(epoch * steps + step, config.optim.epochs * steps, note)
    elapsed = time.monotonic() - begun
    correct, *sums = fabric.all_reduce(torch.stack([correct, *totals.values()]), reduce_op="mean")
    return Epoch(
        epoch=epoch + 1,
        lr=lr,
        accuracy=correct.item() / seen,
        losses={name: (value / seen).item() for name, value in zip(totals, sums, strict=True)},
        seconds=round(elapsed, 3),
        images_per_second=round(steps * batch_size / elapsed, 1),
    )


def _scalars(epoch: Epoch) -> dict[str, float]:
    """Return the metrics of an epoch by their TensorBoard tags."""
    losses = {f"loss/{name}": value for name, value in epoch.losses.items()}
    return {"accuracy": epoch.accuracy, "lr": epoch.lr, "images_per_second": epoch.images_per_second, **losses}
