"""The first minutes: zero-shot, CoOp and DAPT on the embedded pictures, side by side."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.classifier.classifier import load_classifier
from vlprompt.classifier.contact_sheet import ContactSheet
from vlprompt.config.resolve import resolve_config
from vlprompt.data.loading import load_dataset
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord
from vlprompt.utils.progress import Reporter

DATA = "fontawesome"
METHODS = ("zero-shot", "coop", "dapt")
PICTURES = 12
# The pictures are small drawings, of which the field's usual crops (from 8% of the area) leave too little.
SETTINGS: dict[str, Any] = {"data.source": DATA, "data.crop_scale": [0.5, 1.0]}


def run_quickstart(out: Path, reporter: Reporter) -> None:
    """Run the three methods (base classes, 16 shots, seed 1), print the table, and save a picture of predictions.

    Args:
        out: folder for the runs and `predictions.png`. Runs that are finished there are taken as they are.
        reporter: shows progress.
    """
    backbone = load_backbone("embedded")
    records = {}
    for method in METHODS:
        reporter.say(f"[bold]{method}[/bold] on the base classes of {DATA}, 16 shots each")
        config = resolve_config(method=method, protocol="base-to-new", settings=SETTINGS)
        records[method] = run_experiment(config, out / method, resume=True, reporter=reporter, backbone=backbone)
    Console().print(comparison(records))

    picture = out / "predictions.png"
    _write_sheet(picture, out, backbone)
    print(f"Predictions for {PICTURES} test pictures: {picture}")
    print("Next, your own folder with one sub-folder of pictures per class:")
    print("  vlprompt tune PATH/TO/FOLDER --method dapt --shots 16 --out runs/mine")


def comparison(records: dict[str, RunRecord]) -> Table:
    """Base, new, harmonic mean, seconds and learned parameters of base-to-new runs, a row a method."""
    table = Table(title=f"{DATA}, base-to-new, 16 shots, seed 1 (accuracy in %)", title_justify="left")
    for column in ("method", "base", "new", "harmonic mean", "training s", "parameters"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, record in records.items():
        metrics = record.metrics
        accuracies = (metrics["base"]["accuracy"], metrics["new"]["accuracy"], metrics["harmonic_mean"])
        seconds = record.timings.get("train", 0.0)
        table.add_row(
            name, *(f"{value:.1f}" for value in accuracies), f"{seconds:.0f}", f"{record.trainable_parameters:,}"
        )
    return table


def _write_sheet(file: Path, out: Path, backbone: Backbone) -> None:
    """Write a contact sheet: some base test images with the predictions of zero-shot and DAPT."""
    dataset = load_dataset(DATA).subset("base")
    items = dataset.test[:: max(1, len(dataset.test) // PICTURES)][:PICTURES]
    classifiers = {name: load_classifier(out / name, backbone=backbone) for name in ("zero-shot", "dapt")}
    sheet = ContactSheet(columns=4, scale=2)
    for item in items:
        path = dataset.root / item.path
        guesses = {name: classifier.predict(path)[0].label for name, classifier in classifiers.items()}
        sheet.add_comparison(path, dataset.class_names[item.label], guesses)
    sheet.write(file, caption=f"Pictures: {dataset.license}")
