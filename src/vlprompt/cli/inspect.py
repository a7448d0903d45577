"""The command `vlprompt inspect`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.errors import as_flags, flags_of
from vlprompt.cli.options import (
    Device,
    Exclude,
    Json,
    NameMap,
    Quiet,
    Root,
    Run,
    RunBackbone,
    Verbose,
    chosen_format,
    loading,
    output_format,
    set_up_logging,
)
from vlprompt.cli.output import print_json
from vlprompt.errors import VLPromptError


def inspect(
    ctx: typer.Context,
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            autocompletion=complete.datasets,
            help="Another dataset, as in `vlprompt tune`.  [default: the run's own test images]",
        ),
    ] = None,
    name_map: NameMap = None,
    root: Root = None,
    exclude: Exclude = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Maximum number of test images and of shots, balanced over classes; 0 for all.  [default: 1000, or "
            "100 for image-conditional prompts]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the figures.  [default: RUN/inspect]")
    ] = None,
    backbone: RunBackbone = None,
    device: Device = "auto",
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what a run's prompts learned, in numbers and figures.

    Prints the words nearest to the context vectors, norms and attention by layer, distances between classes and from
    images to their class before and after tuning, the modality gap, and the most confused classes. A part that the
    method does not have, or whose images are missing, is left out with the reason.

    Examples:
        vlprompt inspect runs/mine
        vlprompt inspect runs/mine --json > mine.json
        vlprompt inspect runs/imported --data photos/ --limit 200 --out figures
    """
    set_up_logging(quiet, verbose, logging.WARNING)
    form = chosen_format(form, as_json)
    with loading("loading PyTorch", quiet):
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
        name_map=None if name_map is None else str(name_map),
        root=root,
        exclude=exclude or (),
        limit=limit,
        device=device,
        backbone=backbone,
        reporter=Reporter(quiet=quiet or form == "json"),
    )
    flags = flags_of(ctx.command)
    found.left_out = {part: as_flags(reason, flags) for part, reason in found.left_out.items()}
    if form == "table" and not quiet:
        print_inspection(found)
    figures = {name: str(path) for name, path in write_figures(found, folder).items()}
    if form == "json":
        print_json({**found.summary(), "figures": figures})
    elif not quiet:
        print("figures: " + " ".join(figures.values()))
