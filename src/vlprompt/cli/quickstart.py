"""The command `vlprompt quickstart`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlprompt.cli.options import Quiet, loading, set_up_logging
from vlprompt.cli.output import print_rows

if TYPE_CHECKING:
    from vlprompt.backbones.backbone import Backbone
    from vlprompt.data.dataset import Dataset
    from vlprompt.runs.record import RunRecord
    from vlprompt.utils.progress import Reporter

DATA = "pictobench-animals"
SHOTS = 4
METHODS = ("zero-shot", "coop", "dapt", "e2mim", "mudpt")
COLUMNS = ("method", "base", "new", "harmonic mean", "seconds", "parameters")
IMAGES = 12
SETTINGS: dict[str, Any] = {"backbone.source": "embedded", "data.source": DATA, "data.shots": SHOTS}


def quickstart(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the runs and the image of predictions.")
    ] = Path("runs/quickstart"),
    quiet: Quiet = False,
) -> None:
    """Compare zero-shot, a linear probe, CoOp, DAPT, E2MIM and MuDPT on drawings of animals, offline.

    Tunes the embedded model with 4 images of each of 30 classes (base), tests it on these and on 30 that it did not
    learn (new), prints a table, and writes an image of predictions. It takes a few minutes on a CPU.

    Examples:
        vlprompt quickstart
    """
    set_up_logging(quiet)
    with loading("loading PyTorch", quiet):
        import vlprompt.experiments.run  # noqa: F401 - the slow part
        from vlprompt.utils.progress import Reporter

    run_quickstart(out, Reporter(quiet=quiet, transient=True))


def run_quickstart(out: Path, reporter: "Reporter") -> None:
    """Run all methods (base classes, seed 1), print their table, and write an image of predictions.

    Args:
        out: folder for the runs and `predictions.png`. Finished runs in it are reused.
        reporter: shows progress.
    """
    from vlprompt.backbones.backbone import load_backbone
    from vlprompt.backbones.sources.automatic import INSTALL, photos_installed
    from vlprompt.config.resolve import resolve_config
    from vlprompt.data.loading import load_dataset
    from vlprompt.experiments.run import run_experiment

    backbone, dataset = load_backbone("embedded"), load_dataset(DATA)
    records = {}
    for method in METHODS:
        reporter.say(f"[bold]{method}[/bold] on the base classes of {DATA}, {SHOTS} shots per class")
        records[method] = run_experiment(
            resolve_config(method=method, protocol="base-to-new", settings=SETTINGS),
            out / method,
            resume=True,
            reporter=reporter,
            backbone=backbone,
            pools={DATA: dataset},
            baselines=method == "zero-shot",  # for the linear probe, which cannot name new classes
        )
    rows = [_row(name, record) for name, record in records.items()]
    probe = records["zero-shot"].baselines["linear-probe"]["base"]
    rows.insert(1, ("linear probe", f"{probe:.1f}", "–", "–", "–", "–"))
    title = f"{DATA}, base-to-new, {SHOTS} shots, seed 1 (accuracy in %)"
    print_rows(rows, COLUMNS, "table", title=title)

    image = out / "predictions.png"
    _write_predictions(image, out, backbone, dataset)
    print(f"Predictions for {IMAGES} test images: {image}")
    print("Next, your own folder, with one subfolder of images per class:")
    if not photos_installed():
        print(f"  {INSTALL}   # for photographs")
    print("  vlprompt tune PATH/TO/FOLDER --shots 16 --out runs/mine")


def _row(name: str, record: "RunRecord") -> tuple[str, ...]:
    """Return base, new and harmonic mean accuracy, seconds and learned parameters of a base-to-new run."""
    metrics: Mapping[str, Any] = record.metrics
    accuracies = (metrics["base"]["accuracy"], metrics["new"]["accuracy"], metrics["harmonic_mean"])
    seconds = sum(record.timings.values())
    return name, *(f"{value:.1f}" for value in accuracies), f"{seconds:.0f}", f"{record.trainable_parameters:,}"


def _write_predictions(file: Path, out: Path, backbone: "Backbone", dataset: "Dataset") -> None:
    """Write a contact sheet of some base test images with the predictions of zero-shot and DAPT."""
    from vlprompt.classifier.classifier import load_classifier
    from vlprompt.classifier.contact_sheet import ContactSheet

    base = dataset.subset("base")
    items = base.test[:: max(1, len(base.test) // IMAGES)][:IMAGES]
    classifiers = {name: load_classifier(out / name, backbone=backbone) for name in ("zero-shot", "dapt")}
    sheet = ContactSheet(columns=4, scale=2)
    for item in items:
        path = base.root / item.path
        guesses = {name: classifier.predict(path)[0].label for name, classifier in classifiers.items()}
        sheet.add_comparison(path, base.class_names[item.label], guesses)
    sheet.write(file, caption=f"Images: {dataset.license}")
