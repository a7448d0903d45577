"""Training phase of a run, in this process or in one process per device."""

import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlprompt.config.schema import RunConfig, steps_per_epoch
from vlprompt.data.dataset import Item
from vlprompt.data.image_set import ImageSet
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import add_seconds
from vlprompt.experiments.task import Task, open_task
from vlprompt.methods.base import Method
from vlprompt.methods.shots import frozen_features
from vlprompt.runs.record import Calibration, Execution, Learning, RunRecord, read_record
from vlprompt.runs.state import FILE, load_prompts, read_progress, save_prompts
from vlprompt.training.calibration import calibrate
from vlprompt.training.evaluation import predict_logits
from vlprompt.training.fit import fit
from vlprompt.training.inputs import evaluation_inputs, training_inputs
from vlprompt.training.memory import peak_memory_mb
from vlprompt.utils.machine import reader_count
from vlprompt.utils.processes import Child, Message
from vlprompt.utils.progress import Relay, Reporter

logger = logging.getLogger(__name__)

MEASURED_SHOTS = 1000  # more would take long on a CPU and tell no more


def train(
    task: Task, method: Method[Any], record: RunRecord, folder: Path, reporter: Reporter, *, resume: bool
) -> dict[str, float]:
    """Train a method, write its prompts into the run folder, and fill in the record's history.

    Returns:
        the seconds spent, by kind of work.
    """
    seconds = prepare(task, method, reporter)
    record.trainable_parameters = method.trainable  # known only now: `prepare` sizes a cache or a probe
    if not any(parameter.requires_grad for parameter in method.parameters()):
        save_prompts(folder, method)
        return seconds
    optim = task.config.optim
    if optim.epochs <= optim.warmup_epochs:
        logger.warning(
            "optim.epochs=%d does not exceed optim.warmup_epochs=%d: the learning rate stays at %g; change one of them",
            optim.epochs,
            optim.warmup_epochs,
            optim.warmup_lr,
        )
    if task.config.runtime.devices == 1:
        _learn(task, method, record, folder, reporter, seconds, resume=resume)
    else:
        try:
            record.peak_memory_mb = _learn_on_devices(task, folder, reporter, resume=resume)
        finally:
            if (folder / FILE).exists():
                record.history[:], spent = read_progress(folder)
                seconds |= spent
        load_prompts(folder, method)
    return seconds


def fit_temperatures(
    task: Task, method: Method[Any], reporter: Reporter, seconds: dict[str, float]
) -> tuple[Calibration | None, Calibration | None]:
    """Fit the temperatures of the method and of the frozen model on the held-out images.

    Args:
        task: the run.
        method: trained method.
        reporter: shows progress.
        seconds: seconds spent by kind of work; updated.

    Returns:
        the two fits; None without held-out images, or where logits are not finite.
    """
    items = task.shots.val
    if not items:
        logger.info("no held-out images: probabilities are not calibrated, and no settings are selected")
        return None, None
    labels = torch.tensor([item.label for item in items])
    tuned, frozen = _both_logits("calibrate", task, method, items, reporter, seconds)
    return _calibrated(tuned, labels), None if frozen is None else _calibrated(frozen, labels)


def measure_learning(
    task: Task, method: Method[Any], epochs: int, reporter: Reporter, seconds: dict[str, float]
) -> Learning | None:
    """Compare a trained method with the frozen model on the shots, or on an evenly spaced sample of many shots.

    Args:
        task: the run.
        method: trained method.
        epochs: number of epochs that it was trained for.
        reporter: shows progress.
        seconds: seconds spent by kind of work; updated.

    Returns:
        the measurements; None where the frozen model cannot encode the class names, or training diverged.
    """
    shots, batch_size = task.shots.train, task.config.optim.batch_size
    items = tuple(shots[place] for place in spaced(len(shots), MEASURED_SHOTS))
    tuned, frozen = _both_logits("measure", task, method, items, reporter, seconds)
    if not tuned.isfinite().all():
        logger.warning("training diverged, so that no class has a probability; tune again with a lower optim.lr")
        return None
    if frozen is None:
        return None
    labels = torch.tensor([item.label for item in items])

    def loss(logits: Tensor) -> float:
        return round(cross_entropy(logits.double(), labels).item(), 6)

    def accuracy(logits: Tensor) -> float:
        return round(100 * (logits.argmax(1) == labels).float().mean().item(), 4)

    return Learning(
        steps=epochs * steps_per_epoch(len(shots), batch_size),
        images=len(items),
        classes=len(task.shots.class_names),
        loss=loss(tuned),
        accuracy=accuracy(tuned),
        zero_shot_loss=loss(frozen),
        zero_shot_accuracy=accuracy(frozen),
    )


@torch.no_grad()
def _both_logits(
    title: str,
    task: Task,
    method: Method[Any],
    items: tuple[Item, ...],
    reporter: Reporter,
    seconds: dict[str, float],
) -> tuple[Tensor, Tensor | None]:
    """Return the logits (N, C) of the method and of the frozen model on images of the shots.

    Those of the frozen model are None if a class name is too long for the hand-crafted prompt.
    """
    config, root, backbone, begun = task.config, task.shots.root, method.backbone, time.monotonic()
    inputs = evaluation_inputs(method, items, root, config, reporter, frozen=False)
    frozen_inputs = inputs
    if method.adapts_images:
        frozen_inputs = evaluation_inputs(method, items, root, config, reporter, frozen=True)
    encoded = time.monotonic()
    with reporter.bar(title) as bar:
        runtime = config.runtime
        tuned = predict_logits(method, inputs, batch_size=runtime.eval_batch_size, workers=runtime.workers, bar=bar)
    frozen = None
    with suppress(VLPromptError):
        text_features = backbone.template_features(method.options.template_list, method.class_names)
        features, _ = frozen_features(backbone, frozen_inputs)
        frozen = (backbone.logit_scale.exp() * features @ text_features.to(features).T).float().cpu()
    add_seconds(seconds, encode=encoded - begun, test=time.monotonic() - encoded)
    return tuned, frozen


def _calibrated(logits: Tensor, labels: Tensor) -> Calibration | None:
    # The linear probe's logits are -inf for a class without training images; any other non-finite value is divergence.
    if logits.isnan().any() or logits.isposinf().any():
        return None
    known = logits.gather(1, labels[:, None])[:, 0].isfinite()
    return calibrate(logits[known], labels[known]) if known.any() else None


def prepare(task: Task, method: Method[Any], reporter: Reporter) -> dict[str, float]:
    """Prepare a method with the frozen features of the shots and held-out images; return the seconds spent."""
    begun, shots = time.monotonic(), task.shots
    if type(method).prepare is not Method.prepare:
        prepared = [
            evaluation_inputs(method, items, shots.root, task.config, reporter, frozen=True) if items else None
            for items in (shots.train, shots.val)
        ]
        assert prepared[0] is not None
        method.prepare(prepared[0], prepared[1])
    return {"prepare": time.monotonic() - begun}


def _learn(
    task: Task,
    method: Method[Any],
    record: RunRecord,
    folder: Path,
    reporter: Reporter,
    seconds: dict[str, float],
    *,
    resume: bool,
) -> None:
    begun = time.monotonic()
    inputs = training_inputs(method, task.shots.train, task.shots.root, task.config, reporter)
    add_seconds(seconds, encode=time.monotonic() - begun)
    readers = reader_count(task.config.runtime.workers, method.backbone.device.type)
    cached = inputs.kept if isinstance(inputs, ImageSet) else 0
    record.execution = Execution(text_layout=method.backbone.text.layout, readers=readers, cached_images=cached)
    with reporter.bar("train") as bar:
        record.execution.graph = fit(
            method,
            inputs,
            task.config,
            folder,
            result_hash=record.result_hash,
            resume=resume,
            history=record.history,
            seconds=seconds,
            bar=bar,
        )


def _learn_on_devices(task: Task, folder: Path, reporter: Reporter, *, resume: bool) -> float | None:
    """Train in one process per device, which write prompts and state; return the first one's peak memory in MB."""
    runtime, kind = task.config.runtime, task.backbone.device.type
    count = runtime.devices
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    environment["OMP_NUM_THREADS"] = str(runtime.threads or max(1, torch.get_num_threads() // count))
    answers: queue.SimpleQueue[tuple[Child, Message | None]] = queue.SimpleQueue()
    children = [
        Child(f"{__name__}:learn_share", answers, {**environment, "LOCAL_RANK": str(rank)}) for rank in range(count)
    ]
    done: dict[Child, float | None] = {}
    try:
        for rank, child in enumerate(children):
            device = {"device": f"cuda:{rank}" if kind == "cuda" else kind}
            config = task.config.model_copy(update={"runtime": runtime.model_copy(update=device)})
            child.tell({"config": config.model_dump_json(), "folder": str(folder), "resume": resume})
        with reporter.bar("train") as bar:
            while len(done) < count:
                child, message = answers.get()
                if message is None and child not in done:
                    raise VLPromptError(
                        f"the training process of device {children.index(child)} ended early ({child.end}); pass "
                        f"`resume=True` to continue {folder}"
                    )
                match message:
                    case {"step": [title, at, total, note]}:
                        bar(at, total, note if title == "train" else f"{title}  {note}")
                    case {"failed": reason}:
                        raise VLPromptError(reason)
                    case {"done": peak}:
                        done[child] = peak
    finally:
        for child in children:
            child.kill()  # safe, since files are written atomically
        for child in children:
            child.join()
    return done[children[0]]


def learn_share(commands: Iterator[Message], answer: Callable[[Message], None]) -> None:
    """Train on this device's share of every batch, in a child process."""
    for name in ("vlprompt", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)  # the parent logs warnings
    command, rank = next(commands), int(os.environ["LOCAL_RANK"])
    folder, reporter = Path(command["folder"]), Relay(answer) if rank == 0 else Reporter(quiet=True)
    try:
        task = open_task(RunConfig.model_validate_json(command["config"]))
        method = task.method()
        seconds = prepare(task, method, reporter)
        _learn(task, method, read_record(folder), folder, reporter, seconds, resume=command["resume"])
    except VLPromptError as error:
        answer({"failed": str(error)})
    else:
        answer({"done": peak_memory_mb(method.backbone.device)})
