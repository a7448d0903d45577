"""The command `vlprompt quickstart`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlprompt.cli.options import Quiet, loading, set_up_logging
from vlprompt.cli.output import print_rows

if TYPE_CHECKING:
    from vlprompt.backbones.backbone import Backbone
    from vlprompt.runs.record import RunRecord
    from vlprompt.utils.progress import Reporter

DATA = "fontawesome"
METHODS = ("zero-shot", "coop", "dapt")
IMAGES = 12
# The images are small drawings, of which the usual crops of down to 8% of the area would leave too little.
SETTINGS: dict[str, Any] = {"backbone.source": "embedded", "data.source": DATA, "data.crop_scale": [0.5, 1.0]}


def quickstart(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the runs and the image of predictions.")
    ] = Path("runs/quickstart"),
    quiet: Quiet = False,
) -> None:
    """Compare zero-shot, CoOp and DAPT on icons, offline.

    Tunes the embedded model with 16 shots per class, prints base and new accuracy, and writes an image of predictions.
    It takes a few minutes on a CPU.

    Examples:
        vlprompt quickstart
    """
    set_up_logging(quiet)
    with loading("loading PyTorch", quiet):
        import vlprompt.experiments.run  # noqa: F401 - the slow part
        from vlprompt.utils.progress import Reporter

    run_quickstart(out, Reporter(quiet=quiet))


def run_quickstart(out: Path, reporter: "Reporter") -> None:
    """Run the three methods (base classes, 16 shots, seed 1), print their table, and write an image of predictions.

    Args:
        out: folder for the runs and `predictions.png`. Finished runs in it are reused.
        reporter: shows progress.
    """
    from vlprompt.backbones.backbone import load_backbone
    from vlprompt.backbones.sources.automatic import INSTALL, photos_installed
    from vlprompt.config.resolve import resolve_config
    from vlprompt.experiments.run import run_experiment

    backbone = load_backbone("embedded")
    records = {}
    for method in METHODS:
        reporter.say(f"[bold]{method}[/bold] on the base classes of {DATA}, 16 shots per class")
        config = resolve_config(method=method, protocol="base-to-new", settings=SETTINGS)
        records[method] = run_experiment(config, out / method, resume=True, reporter=reporter, backbone=backbone)
    title = f"{DATA}, base-to-new, 16 shots, seed 1 (accuracy in %)"
    columns = ("method", "base", "new", "harmonic mean", "training s", "parameters")
    print_rows([_row(name, record) for name, record in records.items()], columns, "table", title=title)

    image = out / "predictions.png"
    _write_predictions(image, out, backbone)
    print(f"Predictions for {IMAGES} test images: {image}")
    print("Next, your own folder, with one subfolder of images per class:")
    if not photos_installed():
        print(f"  {INSTALL}   # for photographs")
    print("  vlprompt tune PATH/TO/FOLDER --shots 16 --out runs/mine")


def _row(name: str, record: "RunRecord") -> tuple[str, ...]:
    """Return base, new and harmonic mean accuracy, training seconds and learned parameters of a base-to-new run."""
    metrics: Mapping[str, Any] = record.metrics
    accuracies = (metrics["base"]["accuracy"], metrics["new"]["accuracy"], metrics["harmonic_mean"])
    seconds = record.timings.get("train", 0.0)
    return name, *(f"{value:.1f}" for value in accuracies), f"{seconds:.0f}", f"{record.trainable_parameters:,}"


def _write_predictions(file: Path, out: Path, backbone: "Backbone") -> None:
    """Write a contact sheet of some base test images with the predictions of zero-shot and DAPT."""
    from vlprompt.classifier.classifier import load_classifier
    from vlprompt.classifier.contact_sheet import ContactSheet
    from vlprompt.data.loading import load_dataset

    dataset = load_dataset(DATA).subset("base")
    items = dataset.test[:: max(1, len(dataset.test) // IMAGES)][:IMAGES]
    classifiers = {name: load_classifier(out / name, backbone=backbone) for name in ("zero-shot", "dapt")}
    sheet = ContactSheet(columns=4, scale=2)
    for item in items:
        path = dataset.root / item.path
        guesses = {name: classifier.predict(path)[0].label for name, classifier in classifiers.items()}
        sheet.add_comparison(path, dataset.class_names[item.label], guesses)
    sheet.write(file, caption=f"Images: {dataset.license}")
