"""Run an experiment from its configuration, and evaluate the resulting run folder."""

import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import polars

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.resolve import with_method_defaults
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import DATASETS
from vlprompt.data.readers.split_file import write_split
from vlprompt.errors import VLPromptError
from vlprompt.experiments.baselines import measure_baselines
from vlprompt.experiments.evaluate import all_for_testing, has_changed, run_tests, summarize
from vlprompt.experiments.learning import fit_temperatures, measure_learning, train
from vlprompt.experiments.task import Task, load_pool, load_targets, on_data, open_task
from vlprompt.methods.base import Method
from vlprompt.runs.record import PREDICTIONS, RunRecord, SplitRecord, now, read_record
from vlprompt.runs.restore import restore
from vlprompt.runs.state import FILE, PROMPTS, backbone_record, load_prompts, read_progress, save_prompts
from vlprompt.training.memory import peak_memory_mb, reset_peak_memory
from vlprompt.utils.files import atomic_write, is_free, leftovers, remove_leftovers
from vlprompt.utils.progress import Reporter

logger = logging.getLogger("vlprompt")

# Files of a run folder.
FILES = ("run.json", "split.jsonl", PROMPTS, FILE, PREDICTIONS)


def run_experiment(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    backbone: Backbone | None = None,
    pools: Mapping[str, Dataset] | None = None,
    prompts_from: Path | None = None,
    baselines: bool = False,
) -> RunRecord:
    """Run an experiment: draw shots, tune the method, run the protocol's tests, and write a run folder.

    Ctrl-C raises KeyboardInterrupt and leaves an "interrupted" run, which `resume=True` continues.

    Args:
        config: complete configuration, see `resolve_config`.
        out: run folder. An existing run is never overwritten.
        resume: continue an unfinished run of the same configuration, or return the record of a finished one.
        reporter: shows progress; None for no progress.
        backbone: backbone of `config`, if already loaded.
        pools: datasets that are already loaded, by source.
        prompts_from: run folder to copy prompts from, if that run is finished and has the same training hash.
        baselines: also measure chance, zero-shot and a linear probe on the same shots and tests, for the record.

    Returns:
        the record of the finished run.

    Raises:
        VLPromptError: the folder, the data, the backbone or a setting cannot be used.

    Examples:
        >>> from vlprompt import run_experiment
        >>> from vlprompt.config.resolve import resolve_config
        >>> settings = {"backbone.source": "embedded", "data.source": "openmoji", "data.shots": 4}
        >>> config = resolve_config(method="coop", settings=settings)
        >>> record = run_experiment(config, "runs/openmoji-coop")  # doctest: +SKIP
        >>> record.status, list(record.metrics)  # doctest: +SKIP
        ('finished', ['test'])
    """
    reporter = reporter or Reporter(quiet=True)
    folder = Path(out)
    _check_outside(folder, config.data.source)
    earlier = _earlier(folder, resume=resume)
    if config.recipe is None:  # not made by `resolve_config`, so that its options were not validated yet
        config = with_method_defaults(config)
    task = open_task(config, backbone, pools)
    reset_peak_memory(task.backbone.device)
    result_hash = task.result_hash
    if earlier is not None:
        if earlier.result_hash != result_hash:
            raise VLPromptError(
                f"`out` {folder} holds a run with other settings, images or weights; choose another folder"
            )
        if earlier.status == "finished":
            _tidy(folder)
            return earlier

    method = task.method()
    task.check(method)
    record = new_record(task, trainable=method.trainable)
    if (folder / FILE).exists():
        record.history, _ = read_progress(folder)  # fails if it is damaged, before the record is overwritten
    record.write(folder)
    write_split(task.shots.learned, folder / "split.jsonl")
    learned = _same_training(prompts_from, record.training_hash)
    try:
        if prompts_from is None or learned is None:
            seconds = train(task, method, record, folder, reporter, resume=resume)
        else:
            seconds = _copy_prompts(prompts_from, learned, method, record, folder)
        if record.history and learned is None:
            record.learning = measure_learning(task, method, len(record.history), reporter, seconds)
            _warn_of_learning(record)
        record.calibration, record.zero_shot_calibration = fit_temperatures(task, method, reporter, seconds)
        predictions = run_tests(task.config, task.dataset, task.targets, method, reporter, seconds)
        if baselines:
            record.baselines = measure_baselines(task, method, reporter, seconds)
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


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    name_map: str | None = None,
    root: str | None = None,
    exclude: Sequence[str] = (),
    device: str = "auto",
    backbone: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Evaluate the prompts of a run.

    Args:
        run: run folder.
        data: another dataset to test on, with all of its classes; None for the run's own tests. All of its images are
            tested except those that the run learned from; of one with a split, its test images.
        name_map: file that maps folder names of `data` to class names.
        root: folder of the named datasets; None for the recorded one.
        exclude: patterns of files and folders to leave out of `data`, as in `load_dataset`.
        device: device to load the backbone on, see `load_backbone`.
        backbone: source of the backbone's weights, if they have moved.
        reporter: shows progress; None for no progress.

    Returns:
        the names of `run`, `dataset` and `method`, and the metrics of each test in percent, by test name.

    Raises:
        VLPromptError: the folder holds no tuned prompts, or the data or the weights cannot be loaded.

    Examples:
        >>> from vlprompt import evaluate
        >>> found = evaluate("runs/openmoji-coop", "fontawesome")  # doctest: +SKIP
        >>> list(found)  # doctest: +SKIP
        ['run', 'dataset', 'method', 'test']
    """
    reporter = reporter or Reporter(quiet=True)
    record, method = restore(run, device=device, backbone=backbone)
    if data is None and not record.has_data:
        raise VLPromptError(f"{run} was {record.status} without test images; pass a dataset as `data`")
    config = on_data(record.config, data, name_map=name_map, root=root, exclude=exclude)
    try:
        dataset = load_pool(config.data)
    except VLPromptError as error:
        if data is not None:
            raise
        raise VLPromptError(
            f"the images of {run} cannot be loaded ({error}); pass another dataset as `data`"
        ) from error
    targets = load_targets(config, dataset)
    if data is not None:
        dataset = all_for_testing(dataset, record, Path(run))
    elif has_changed(record, dataset, targets):
        logger.warning("%s has changed since the run; its current images are tested", config.data.source)
    found = run_tests(config, dataset, targets, method, reporter)
    if not found:
        raise VLPromptError(f"dataset {dataset.name!r} has no test images; add some to its test split")
    metrics = summarize(config.protocol, found, record.calibration)
    return {"run": str(run), "dataset": dataset.name, "method": method.name, **metrics}


def _same_training(folder: Path | None, training_hash: str) -> RunRecord | None:
    """Return the folder's record if the run is finished and has the given training hash."""
    if folder is None or not (folder / "run.json").exists():
        return None
    record = read_record(folder)
    return record if record.status == "finished" and record.training_hash == training_hash else None


def _copy_prompts(
    other: Path, learned: RunRecord, method: Method[Any], record: RunRecord, folder: Path
) -> dict[str, float]:
    """Copy the prompts and the training history of another run; return its seconds by kind of work."""
    load_prompts(other, method)
    save_prompts(folder, method)
    record.prompts_from = Path(os.path.relpath(other, folder)).as_posix()
    record.history, record.learning = learned.history, learned.learning
    record.trainable_parameters = learned.trainable_parameters
    return {part: seconds for part, seconds in learned.timings.items() if part not in ("encode", "test")}


def _warn_of_learning(record: RunRecord) -> None:
    """Warn if the training failed even on the images that it saw."""
    found = record.learning
    if found is not None and found.problem is not None:
        config = record.config
        logger.warning(
            "%s on %s, seed %d: hardly anything was learned: after %d steps the loss on the shots is %.2f, %s; raise "
            "optim.epochs or optim.lr",
            config.method.name,
            config.data.source,
            config.seed,
            found.steps,
            found.loss,
            found.problem,
        )


def _check_outside(folder: Path, source: str) -> None:
    """Raise VLPromptError if the run folder is inside the data, where the next run would read it as a class."""
    data = Path(source).expanduser()
    if source not in DATASETS and data.is_dir() and folder.resolve().is_relative_to(data.resolve()):
        raise VLPromptError(
            f"`out` {folder} is inside {source}, whose folders are classes; choose a folder outside of it"
        )


def _earlier(folder: Path, *, resume: bool) -> RunRecord | None:
    """Return the folder's record, if any; raise VLPromptError if there is one and `resume` is False."""
    if not (folder / "run.json").exists():
        # A run that was killed while writing its first record leaves only temporary files and can start again.
        if not is_free(folder, but=leftovers(folder, FILES)):
            raise VLPromptError(f"`out` {folder} exists and is not a run folder; choose another one")
        return None
    record = read_record(folder)
    if not resume:
        raise VLPromptError(
            f"`out` {folder} already holds a run ({record.status}); pass `resume=True` to continue it, or choose "
            "another folder"
        )
    return record


def _tidy(folder: Path) -> None:
    """Remove the state of a finished run, and temporary files that killed processes left."""
    with suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)
    remove_leftovers(folder, FILES)


def new_record(task: Task, status: Literal["planned", "running"] = "running", trainable: int = 0) -> RunRecord:
    """Create the record of a run before its training."""
    backbone, shots = task.backbone, task.shots
    return RunRecord(
        status=status,
        config=task.config,
        result_hash=task.result_hash,
        training_hash=task.training_hash,
        backbone=backbone_record(backbone),
        class_names=list(shots.class_names),
        split=SplitRecord(
            hash=task.dataset.split_hash(),
            pool=task.pool.split_hash(),
            content=task.shots.learned.content_hash,
            train=len(shots.train),
            val=len(shots.val),
            test=len(task.dataset.test),
            tested_on=task.pool.tested_on,
            skipped=list(task.dataset.skipped),
            short=shots.short_of(task.config.data.shots),
            template=task.pool.template,
        ),
        tests=task.tests,
        trainable_parameters=trainable,
    )
