"""Commands that use a run: predict."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.common import Device, Json, Quiet, Run, Verbose, set_up_logging
from vlprompt.errors import VLPromptError


def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files.")],
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify images with a run's prompts, a line each. Exit code 1 if one of them could not be read.

    Examples:

        vlprompt predict runs/mine holiday.jpg

        vlprompt predict runs/mine *.png --json > answers.jsonl
    """
    set_up_logging(quiet, verbose)
    from vlprompt.deploy.classifier import load

    classifier = load(run, device=device)
    failed = False
    for image in images:
        try:
            guess = classifier.predict(image)
        except VLPromptError as error:
            failed = True
            reason = str(error)
            print(json.dumps({"image": str(image), "error": reason}) if as_json else f"{image}: error: {reason}")
            continue
        if as_json:
            answer = {"image": str(image), "label": guess.label, "probability": guess.probability}
            print(json.dumps({**answer, "probabilities": guess.probabilities}), flush=True)
        else:
            print(f"{image}: {guess.label} ({guess.probability:.1%})", flush=True)
    if failed:
        raise typer.Exit(1)
