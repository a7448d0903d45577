"""One run from its configuration to its folder, and the same folder evaluated again."""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars
import torch

from vlprompt.backbones import Backbone, load_backbone
from vlprompt.backbones.backbone import resolve_device
from vlprompt.config import DataConfig, RunConfig
from vlprompt.data import Dataset, load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.files import atomic_write
from vlprompt.methods import Method, create_method
from vlprompt.progress import Reporter
from vlprompt.protocols.protocol import PROTOCOLS
from vlprompt.training.evaluation import Predictions, predict_set
from vlprompt.training.fit import derived_seed, fit
from vlprompt.training.inputs import test_inputs, training_inputs
from vlprompt.training.memory import peak_memory_mb
from vlprompt.training.record import BackboneRecord, RunRecord, SplitRecord, now, read_record
from vlprompt.training.restore import restore
from vlprompt.training.state import FILE, save_prompts


@dataclass(frozen=True)
class Task:
    """A run's ingredients, loaded.

    Attributes:
        config: the run, its template filled in.
        backbone: frozen.
        pool: all images, which shots are drawn from.
        dataset: the drawn shots of all classes, and all test images.
        shots: the same of the classes that are learned.
    """

    config: RunConfig
    backbone: Backbone
    pool: Dataset
    dataset: Dataset
    shots: Dataset

    @property
    def result_hash(self) -> str:
        """Of everything that the result depends on."""
        return self.config.result_hash(self.backbone.weight_hash, self.dataset.split_hash())

    def method(self) -> Method[Any]:
        """The configured method for the classes that are learned, its parameters drawn from the run's seed."""
        config = self.config
        torch.manual_seed(derived_seed("start", config.seed))
        return create_method(config.method.name, self.backbone, self.shots.class_names, **config.method.options)

    def cannot_name_new(self, method: Method[Any]) -> bool:
        """Whether the protocol tests new classes, and the method has something for its own alone."""
        return method.class_bound and "new" in PROTOCOLS[self.config.protocol].tests

    def check(self, method: Method[Any]) -> None:
        """VLPromptError where the method cannot do the protocol's tests, or cannot read the names in them."""
        protocol = self.config.protocol
        if self.cannot_name_new(method):
            raise VLPromptError(
                f"method {method.name!r} with these options cannot name new classes, which protocol {protocol!r} "
                "tests; use protocol few-shot, or options that share the prompts among classes"
            )
        for classes in PROTOCOLS[protocol].tests.values():
            method.check_names(self.dataset.subset(classes).class_names)


def load_pool(data: DataConfig) -> Dataset:
    """The configured dataset, whole, before shots are drawn from it."""
    class_names = None if data.class_names is None else Path(data.class_names)
    return load_dataset(data.source, split_seed=data.split_seed, class_names=class_names)


def open_task(config: RunConfig, backbone: Backbone | None = None, pool: Dataset | None = None) -> Task:
    """Load what a run needs. A backbone and a dataset that are loaded already can be given."""
    runtime, data = config.runtime, config.data
    resolve_device(runtime.device, config.backbone.precision)  # before images are read and weights are loaded
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    pool = pool or load_pool(data)
    if not pool.test:
        raise VLPromptError(f"dataset {data.source!r} has no test images; add a test/ folder or more images per class")
    backbone = backbone or load_backbone(config.backbone.source, config.backbone.precision, runtime.device)
    backbone.text.chunk_size = runtime.class_chunk
    drawn = pool.few_shot(data.shots, config.seed)
    shots = drawn.subset(PROTOCOLS[config.protocol].train)
    return Task(config.with_template(pool.template), backbone, pool, drawn, shots)


def tune(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    backbone: Backbone | None = None,
    pool: Dataset | None = None,
) -> RunRecord:
    """Run a configuration and leave its folder.

    Args:
        config: the run.
        out: its folder. One that holds a run is not written over.
        resume: go on with an unfinished run of the same configuration; a finished one is returned as it is.
        reporter: shows progress; none by default.
        backbone: one that is loaded already, to save the time.
        pool: the configured dataset, likewise.

    Returns:
        the finished record. Ctrl-C raises KeyboardInterrupt and leaves an "interrupted" run that can go on.
    """
    reporter = reporter or Reporter(quiet=True)
    folder = Path(out)
    earlier = _earlier(folder, resume=resume)
    task = open_task(config, backbone, pool)
    result_hash = task.result_hash
    if earlier is not None:
        if earlier.result_hash != result_hash:
            raise VLPromptError(
                f"{folder} holds a run with other settings, images or weights; see `vlprompt info {folder}`, "
                "or choose another --out"
            )
        if earlier.status == "finished":
            return earlier

    method = task.method()
    task.check(method)
    record = _new_record(task, method, result_hash)
    record.write(folder)
    try:
        seconds = _train(task, method, record, folder, reporter, resume=resume)
        begun = time.monotonic()
        predictions = run_tests(task.config, task.dataset, method, reporter)
        seconds["test"] = time.monotonic() - begun
    except KeyboardInterrupt:
        record.status = "interrupted"
        record.write(folder)
        raise
    record.metrics = summarise(config.protocol, predictions)
    table = polars.concat([found.table(test) for test, found in predictions.items()])
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    atomic_write(folder / "predictions.parquet", buffer.getvalue())
    record.timings = {name: round(value, 3) for name, value in seconds.items()}
    record.peak_memory_mb = peak_memory_mb(task.backbone.device)
    record.status, record.ended = "finished", now()
    record.write(folder)
    (folder / FILE).unlink(missing_ok=True)
    return record


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    class_names: str | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Metrics of a run's prompts.

    Args:
        run: the run's folder.
        data: another dataset, whose classes are named to the prompts; None for the run's own tests.
        class_names: file that maps that dataset's folder names to words.
        device: as in `load_backbone`.
        reporter: shows progress; none by default.

    Returns:
        run, dataset, method, and the metrics of each test by its name.
    """
    reporter = reporter or Reporter(quiet=True)
    record, method = restore(run, device=device)
    config = record.config
    if data is None and record.status == "imported":
        raise VLPromptError(f"{run} was imported and has no test images of its own; say which: evaluate {run} DATA")
    if data is not None:
        other = config.data.model_copy(update={"source": data, "class_names": class_names})
        config = config.model_copy(update={"data": other, "protocol": "few-shot"})
    dataset = load_pool(config.data)
    found = run_tests(config, dataset, method, reporter)
    metrics = summarise(config.protocol, found)
    return {"run": str(run), "dataset": dataset.name, "method": method.name, **metrics}


def run_tests(config: RunConfig, dataset: Dataset, method: Method[Any], reporter: Reporter) -> dict[str, Predictions]:
    """Predictions of every test of the protocol. The method ends with the classes it had."""
    trained = method.class_names
    runtime, found = config.runtime, {}
    for test, classes in PROTOCOLS[config.protocol].tests.items():
        part = dataset.subset(classes)
        if not part.test:
            raise VLPromptError(f"dataset {dataset.name!r} has no test images of its {classes} classes")
        if part.class_names != trained:
            method.set_class_names(part.class_names)
        inputs = test_inputs(method, part.test, part.root, config, reporter, frozen=False)
        with reporter.bar(f"test {test}" if test != "test" else "test") as bar:
            found[test] = predict_set(
                method,
                inputs,
                [item.path for item in part.test],
                batch_size=runtime.eval_batch_size,
                workers=runtime.workers,
                bar=bar,
            )
        if part.class_names != trained:
            method.set_class_names(trained)
    return found


def summarise(protocol: str, predictions: dict[str, Predictions]) -> dict[str, Any]:
    """Metrics of every test by its name, and what the protocol computes from several."""
    metrics = {test: found.metrics() for test, found in predictions.items()}
    return {**metrics, **PROTOCOLS[protocol].summary(metrics)}


def _train(
    task: Task, method: Method[Any], record: RunRecord, folder: Path, reporter: Reporter, *, resume: bool
) -> dict[str, float]:
    config, shots = task.config, task.shots
    begun = time.monotonic()
    if type(method).prepare is not Method.prepare:
        prepared = [
            test_inputs(method, items, shots.root, config, reporter, frozen=True) if items else None
            for items in (shots.train, shots.val)
        ]
        assert prepared[0] is not None
        method.prepare(prepared[0], prepared[1])
    seconds = {"prepare": time.monotonic() - begun}
    record.trainable_parameters = method.trainable  # a cache or a probe has its size from the shots
    if not any(parameter.requires_grad for parameter in method.parameters()):
        save_prompts(folder, method)
        return seconds
    inputs = training_inputs(method, shots.train, shots.root, config, reporter)
    with reporter.bar("train") as bar:
        fit(
            method,
            inputs,
            config,
            folder,
            result_hash=record.result_hash,
            resume=resume,
            history=record.history,
            seconds=seconds,
            bar=bar,
        )
    return seconds


def _earlier(folder: Path, *, resume: bool) -> RunRecord | None:
    """The record in the folder, if there is one and `resume` allows to go on with it."""
    if not (folder / "run.json").exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise VLPromptError(f"--out {folder} exists and is not a run; choose another folder")
        return None
    record = read_record(folder)
    if not resume:
        raise VLPromptError(
            f"--out {folder} holds a run already ({record.status}); add --resume to go on with it, or choose another"
        )
    return record


def _new_record(task: Task, method: Method[Any], result_hash: str) -> RunRecord:
    backbone, shots = task.backbone, task.shots
    return RunRecord(
        config=task.config,
        result_hash=result_hash,
        backbone=BackboneRecord.of(backbone),
        class_names=list(shots.class_names),
        split=SplitRecord(
            hash=task.dataset.split_hash(),
            pool=task.pool.split_hash(),
            train=len(shots.train),
            val=len(shots.val),
            test=len(task.dataset.test),
            skipped=list(task.dataset.skipped),
        ),
        trainable_parameters=method.trainable,
    )
