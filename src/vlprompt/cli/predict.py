"""The command `vlprompt predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import (
    Device,
    Exclude,
    Json,
    Quiet,
    Run,
    RunBackbone,
    Runtime,
    RuntimePrecision,
    Verbose,
    chosen_format,
    loading,
    output_format,
    set_up_logging,
)
from vlprompt.errors import VLPromptError


def predict(
    run: Run,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Files, folders, quoted patterns, or - for a list on stdin."),
    ],
    form: Annotated[str, output_format("table", "json", "jsonl", "csv")] = "table",
    as_json: Json = False,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Number of classes per image, most likely first.")] = 1,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a contact sheet, a .png of labeled thumbnails.")
    ] = None,
    exclude: Exclude = None,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images per batch in the image tower.")] = 32,
    backbone: RunBackbone = None,
    device: Device = "auto",
    runtime: Runtime = "torch",
    precision: RuntimePrecision = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify images with a run's prompts.

    Prints one line per image. An image that cannot be read has an error in place of a label, and the exit code is 1.
    `--format jsonl` prints one JSON object per line, `--json` one list of the same objects.

    Examples:
        vlprompt predict runs/mine holiday.jpg
        vlprompt predict runs/mine photos/ --top 3 --sheet sheet.png
        vlprompt predict runs/mine "shots/**/*.png" --json > labels.json
        vlprompt predict runs/mine photos/ --runtime onnx --precision int8
        find . -name "*.jpg" | vlprompt predict runs/mine - --format csv
    """
    set_up_logging(quiet, verbose)
    form = chosen_format(form, as_json)
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise VLPromptError(f"--sheet must end in .png, got {str(sheet)!r}")
    with loading("loading PyTorch", quiet):
        from vlprompt.classifier.classifier import load_classifier
        from vlprompt.classifier.image_inputs import find_images
        from vlprompt.classifier.writers import write_predictions
        from vlprompt.utils.progress import Reporter

    paths = find_images(images, exclude or ())
    classifier = load_classifier(run, device=device, backbone=backbone, runtime=runtime, precision=precision)
    reporter = Reporter(quiet=quiet)
    failed = write_predictions(
        classifier, paths, sys.stdout, reporter, form=form, top=top, batch_size=batch_size, sheet=sheet
    )
    if failed:
        raise typer.Exit(1)
