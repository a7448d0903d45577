"""Print a run's record and metrics on the terminal."""

from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

from vlprompt.runs.record import RunRecord
from vlprompt.utils.clean_output import as_line
from vlprompt.utils.terminal import print_table

COLUMNS = {
    "accuracy": "accuracy %",
    "macro_accuracy": "macro %",
    "calibration_error": "calibration error %",
    "calibrated_error": "after temperature",
}


def print_metrics(metrics: dict[str, Any], *, title: str) -> None:
    """Print a table of a run's metrics, one row per test."""
    tests = [values for values in metrics.values() if isinstance(values, dict)]
    columns = [key for key in COLUMNS if all(key in values for values in tests)]
    rows: list[list[str]] = []
    for test, values in metrics.items():
        if isinstance(values, dict):
            rows.append([test, *(f"{values[key]:.1f}" for key in columns), str(values["images"])])
        else:
            rows.append([test.replace("_", " "), f"{values:.1f}", *[""] * len(columns)])
    print_table(rows, ["test", *(COLUMNS[key] for key in columns), "images"], title=as_line(title))


def print_baselines(record: RunRecord) -> None:
    """Print the accuracies of a run beside those of chance, zero-shot and a linear probe, if they were measured."""
    if not record.baselines:
        return
    tests = [test for test, values in record.metrics.items() if isinstance(values, dict)]
    own = {test: record.metrics[test]["accuracy"] for test in tests}
    every: dict[str, dict[str, float]] = {record.config.method.name: own}
    rows = [
        [name, *(f"{found[test]:.1f}" if test in found else None for test in tests)]
        for name, found in (every | record.baselines).items()
    ]
    print_table(rows, ["accuracy %", *tests], title="beside the baselines")


def print_record(record: RunRecord, run: Path) -> None:
    """Print the settings, the status, the last epoch and the metrics of a run."""
    config, split = record.config, record.split
    method, data = config.method, config.data
    backbone = (
        f"backbone {record.backbone.name}, {config.backbone.precision}; {record.trainable_parameters:,} parameters"
    )
    if not record.has_data:
        print(as_line(f"{run}: {record.status}, {method.name} from {data.source}"))
        print(as_line(f"  {backbone}"))
        print(f"  {len(record.classes_now or record.class_names)} classes")
    else:
        print(as_line(f"{run}: {record.status}, {len(record.history)} of {config.optim.epochs} epochs"))
        print(as_line(f"  {method.name} on {data.source}, {config.protocol}, {data.shots} shots, seed {config.seed}"))
        print(as_line(f"  {backbone}"))
        counts = f"{split.train} training, {split.val} validation and {split.test} test images"
        print(f"  {len(record.class_names)} classes; {counts}")
        if split.tested_on == "val":
            print("  the test images are the validation images of the data, which has no labeled test split")
    for path, reason in split.skipped:
        print(as_line(f"  left out {path}: {reason}"))
    options = ", ".join(f"{key}={value}" for key, value in method.options.items())
    _print_wrapped(options)
    if record.history:
        last = record.history[-1]
        losses = ", ".join(f"{name} {value:.4f}" for name, value in last.losses.items())
        speed = f"{last.images_per_second:.0f} images/s"
        _print_wrapped(f"last epoch: {losses}, training accuracy {last.accuracy:.1%}, {speed}")
    if record.timings:
        print("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in record.timings.items()))
    if record.learning:
        _print_wrapped(record.learning.summary)
        if record.learning.problem:
            _print_wrapped(f"hardly anything was learned: the loss is {record.learning.problem}")
    if record.calibration:
        _print_wrapped(f"temperature {record.calibration.summary}")
    if record.metrics:
        print_metrics(record.metrics, title="metrics")
        print_baselines(record)


def _print_wrapped(text: str) -> None:
    """Print an indented text, wrapped to the terminal's width."""
    width = get_terminal_size().columns
    print(fill(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))
