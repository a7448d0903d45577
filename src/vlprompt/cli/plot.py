"""The command `vlprompt plot`."""

from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import Quiet, Runs, listed, loading, one_of
from vlprompt.cli.output import find_runs_under

IMAGES = ("png", "svg", "pdf")


def plot(
    runs: Runs,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write the plots into.")] = Path("plots"),
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            callback=one_of(*IMAGES),
            autocompletion=complete.starting(IMAGES),
            help=f"Write {listed(IMAGES)} files.",
        ),
    ] = "png",
    quiet: Quiet = False,
) -> None:
    """Plot all finished runs under some folders.

    Draws accuracy against shots, base against new classes, the gain over zero-shot, and training time. A method has
    the same color and marker in every plot. Unfinished runs are left out and listed in the plot.

    Examples:
        vlprompt plot runs/grid
        vlprompt plot runs/grid --out plots --format pdf
    """
    with loading("reading runs", quiet):
        from vlprompt.results.rendering import write_plots

        found = find_runs_under(runs, predictions=True)
    for path, title in write_plots(found, out, form):
        if not quiet:
            print(f"{path}  {title}")
