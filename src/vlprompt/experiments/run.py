"""One run from its configuration to its folder, and the same folder evaluated again."""

import io
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import polars

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import DATASETS
from vlprompt.data.readers.split_file import write_split
from vlprompt.errors import VLPromptError
from vlprompt.experiments.learning import held_out, train
from vlprompt.experiments.task import Task, load_pool, load_targets, on_data, open_task
from vlprompt.experiments.testing import run_tests, summarize
from vlprompt.methods.base import Method
from vlprompt.runs.record import PREDICTIONS, BackboneRecord, RunRecord, SplitRecord, now, read_record
from vlprompt.runs.restore import restore
from vlprompt.runs.state import FILE, load_prompts, read_progress, save_prompts
from vlprompt.training.memory import peak_memory_mb, reset_peak_memory
from vlprompt.utils.files import atomic_write, is_free, leftovers, remove_leftovers
from vlprompt.utils.progress import Reporter

# All that a run's folder may hold.
FILES = ("run.json", "split.jsonl", "prompts.safetensors", FILE, PREDICTIONS)


def tune(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    backbone: Backbone | None = None,
    pools: Mapping[str, Dataset] | None = None,
    prompts_from: Path | None = None,
) -> RunRecord:
    """Run a configuration and leave its folder.

    Args:
        config: the run.
        out: its folder. One that holds a run is not written over.
        resume: go on with an unfinished run of the same configuration; a finished one is returned as it is.
        reporter: shows progress; none by default.
        backbone: one that is loaded already, to save the time.
        pools: datasets by their source, likewise.
        prompts_from: folder of a run; if it is finished and its training was the same, its prompts are taken.

    Returns:
        the finished record. Ctrl-C raises KeyboardInterrupt and leaves an "interrupted" run that can go on.
    """
    reporter = reporter or Reporter(quiet=True)
    folder = Path(out)
    _outside(folder, config.data.source)
    earlier = _earlier(folder, resume=resume)
    task = open_task(config, backbone, pools)
    reset_peak_memory(task.backbone.device)
    result_hash = task.result_hash
    if earlier is not None:
        if earlier.result_hash != result_hash:
            raise VLPromptError(
                f"{folder} holds a run with other settings, images or weights; see `vlprompt info {folder}`, "
                "or choose another --out"
            )
        if earlier.status == "finished":
            _tidy(folder)
            return earlier

    method = task.method()
    task.check(method)
    record = new_record(task, trainable=method.trainable)
    if (folder / FILE).exists():
        record.history, _ = read_progress(folder)  # a damaged state is found before the old record is written over
    record.write(folder)
    write_split(task.shots.learned, folder / "split.jsonl")
    learned = _same_training(prompts_from, record.training_hash)
    try:
        if prompts_from is None or learned is None:
            seconds = train(task, method, record, folder, reporter, resume=resume)
        else:
            seconds = _take_over(prompts_from, learned, method, record, folder)
        record.calibration = held_out(task, method, reporter)
        begun = time.monotonic()
        predictions = run_tests(task.config, task.dataset, task.targets, method, reporter)
        seconds["test"] = time.monotonic() - begun
    except KeyboardInterrupt:
        record.status = "interrupted"
        record.write(folder)
        raise
    record.metrics = summarize(config.protocol, predictions, record.calibration)
    if predictions:
        buffer = io.BytesIO()
        polars.concat([found.table(test) for test, found in predictions.items()]).write_parquet(buffer)
        atomic_write(folder / PREDICTIONS, buffer.getvalue())
    record.timings = {name: round(value, 3) for name, value in seconds.items()}
    record.peak_memory_mb = max(record.peak_memory_mb or 0, peak_memory_mb(task.backbone.device) or 0) or None
    record.status, record.ended = "finished", now()
    record.write(folder)
    _tidy(folder)
    return record


run_experiment = tune  # stand-in of this branch for the renaming that the parcel CONFIG makes


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    class_names: str | None = None,
    root: str | None = None,
    device: str = "auto",
    backbone: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Metrics of a run's prompts.

    Args:
        run: the run's folder.
        data: another dataset, whose classes are named to the prompts; None for the run's own tests.
        class_names: file that maps that dataset's folder names to words.
        root: folder of the datasets, where it is another one than the run's.
        device: as in `load_backbone`.
        backbone: where the run's weights lie now, if not where they were.
        reporter: shows progress; none by default.

    Returns:
        run, dataset, method, and the metrics of each test by its name.
    """
    reporter = reporter or Reporter(quiet=True)
    record, method = restore(run, device=device, backbone=backbone)
    if data is None and not record.has_data:
        raise VLPromptError(f"{run} was {record.status} without test images of its own; say which: evaluate {run} DATA")
    config = on_data(record.config, data, class_names=class_names, root=root)
    try:
        dataset = load_pool(config.data)
    except VLPromptError as error:
        if data is not None:
            raise
        raise VLPromptError(f"the run's own images are not here ({error}); give others: evaluate {run} DATA") from error
    found = run_tests(config, dataset, load_targets(config, dataset), method, reporter)
    if not found:
        raise VLPromptError(f"dataset {dataset.name!r} has no test images; add some to its test split")
    metrics = summarize(config.protocol, found, record.calibration)
    return {"run": str(run), "dataset": dataset.name, "method": method.name, **metrics}


def _same_training(folder: Path | None, training_hash: str) -> RunRecord | None:
    """The record of a finished run that learned what a run with this hash would learn."""
    if folder is None or not (folder / "run.json").exists():
        return None
    record = read_record(folder)
    return record if record.status == "finished" and record.training_hash == training_hash else None


def _take_over(
    other: Path, learned: RunRecord, method: Method[Any], record: RunRecord, folder: Path
) -> dict[str, float]:
    """Prompts of another run, and what its record says of how they were learned; returns the seconds of that."""
    load_prompts(other, method)
    save_prompts(folder, method)
    record.prompts_from = Path(os.path.relpath(other, folder)).as_posix()
    record.history, record.trainable_parameters = learned.history, learned.trainable_parameters
    return {part: seconds for part, seconds in learned.timings.items() if part != "test"}


def _outside(folder: Path, source: str) -> None:
    """VLPromptError where the run would lie among the images that it learns from, and be a class of the next one."""
    data = Path(source).expanduser()
    if source not in DATASETS and data.is_dir() and folder.resolve().is_relative_to(data.resolve()):
        raise VLPromptError(f"--out {folder} lies in {source}, whose folders are classes; choose one outside of it")


def _earlier(folder: Path, *, resume: bool) -> RunRecord | None:
    """The record in the folder, if there is one and `resume` allows to go on with it."""
    if not (folder / "run.json").exists():
        # A run that was killed while it wrote its first record is one that can go on.
        if not is_free(folder, but=leftovers(folder, FILES)):
            raise VLPromptError(f"--out {folder} exists and is not a run; move or delete it, or choose another folder")
        return None
    record = read_record(folder)
    if not resume:
        raise VLPromptError(
            f"--out {folder} holds a run already ({record.status}); add --resume to go on with it, or choose another"
        )
    return record


def _tidy(folder: Path) -> None:
    """Remove from a finished run's folder what only an unfinished one needs, and what killed writers left."""
    with suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)
    remove_leftovers(folder, FILES)


def new_record(task: Task, status: Literal["planned", "running"] = "running", trainable: int = 0) -> RunRecord:
    """The record of a run that learns nothing yet."""
    backbone, shots = task.backbone, task.shots
    return RunRecord(
        status=status,
        config=task.config,
        result_hash=task.result_hash,
        training_hash=task.training_hash,
        backbone=BackboneRecord.of(backbone),
        class_names=list(shots.class_names),
        split=SplitRecord(
            hash=task.dataset.split_hash(),
            pool=task.pool.split_hash(),
            content=task.shots.learned.content_hash,
            train=len(shots.train),
            val=len(shots.val),
            test=len(task.dataset.test),
            skipped=list(task.dataset.skipped),
            short=shots.short_of(task.config.data.shots),
            template=task.pool.template,
        ),
        tests=task.tests,
        trainable_parameters=trainable,
    )
