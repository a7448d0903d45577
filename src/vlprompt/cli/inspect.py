"""The command that looks into a run: inspect."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Device, Json, Quiet, Root, Run, RunBackbone, Verbose, set_up_logging
from vlprompt.errors import VLPromptError


def inspect(
    run: Run,
    data: Annotated[
        str | None, typer.Option(help="Other images than the run's own test images, as DATA in `tune`.")
    ] = None,
    class_names: Annotated[Path | None, typer.Option(help="File that maps DATA's folder names to words.")] = None,
    root: Root = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many test images and shots to look at, as many of each class; 0 for all. Default 1000, or 100 "
            "where every image has class embeddings of its own.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the figures; default RUN/inspect.")] = None,
    backbone: RunBackbone = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what a run's prompts learned, and draw it.

    Words nearest to the context, norms and attention by layer, how far classes are apart and images from their class
    before tuning and after it, the modality gap, and the classes that are confused most. Parts that a method does not
    have, or that need images which are not there any more, are left out with the reason.

    Examples:

        vlprompt inspect runs/mine

        vlprompt inspect runs/mine --json > mine.json

        vlprompt inspect runs/imported --data pictures/ --limit 200 --out figures
    """
    set_up_logging(quiet, verbose, logging.WARNING)
    from vlprompt.analysis.figures import write_figures
    from vlprompt.analysis.inspection import inspect_run
    from vlprompt.analysis.printing import print_inspection
    from vlprompt.utils.progress import Reporter

    folder = out or run / "inspect"
    if folder.exists() and not folder.is_dir():
        raise VLPromptError(f"--out {folder} is a file; name a folder")
    found = inspect_run(
        run,
        data,
        name_map=None if class_names is None else str(class_names),
        root=root,
        limit=limit,
        device=device,
        backbone=backbone,
        reporter=Reporter(quiet=quiet or as_json),
    )
    if not (as_json or quiet):
        print_inspection(found)
    figures = {name: str(path) for name, path in write_figures(found, folder).items()}
    if as_json:
        print(json.dumps({**found.summary(), "figures": figures}))
    elif not quiet:
        print("figures: " + " ".join(figures.values()))
