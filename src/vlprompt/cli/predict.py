"""Commands that use a run: predict."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Device, Quiet, Run, RunBackbone, Verbose, set_up_logging
from vlprompt.errors import VLPromptError


def predict(
    run: Run,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES...", help="Files, folders, patterns in quotes, or - for a list on stdin."),
    ],
    form: Annotated[str, typer.Option("--format", help="table, jsonl (a JSON object a line) or csv.")] = "table",
    top: Annotated[int, typer.Option(min=1, help="Classes to show of each image, likeliest first.")] = 1,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG file for a contact sheet: small pictures with their labels.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time in the image tower.")] = 32,
    backbone: RunBackbone = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify images with a run's prompts, a line each. Exit code 1 if one of them could not be read.

    Examples:

        vlprompt predict runs/mine holiday.jpg

        vlprompt predict runs/mine pictures/ --top 3 --sheet sheet.png

        vlprompt predict runs/mine "shots/**/*.png" --format jsonl > answers.jsonl

        find . -name "*.jpg" | vlprompt predict runs/mine - --format csv
    """
    set_up_logging(quiet, verbose)
    from vlprompt.classifier.classifier import load_classifier
    from vlprompt.classifier.image_inputs import find_images
    from vlprompt.classifier.writers import FORMATS, write_predictions
    from vlprompt.utils.progress import Reporter

    if form not in FORMATS:
        raise VLPromptError(f"--format {form}: use {', '.join(FORMATS)}")
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise VLPromptError(f"--sheet {sheet}: the contact sheet is a PNG; name a file that ends in .png")
    paths = find_images(images)
    classifier, reporter = load_classifier(run, device=device, backbone=backbone), Reporter(quiet=quiet)
    failed = write_predictions(
        classifier, paths, sys.stdout, reporter, form=form, top=top, batch_size=batch_size, sheet=sheet
    )
    if failed:
        raise typer.Exit(1)
