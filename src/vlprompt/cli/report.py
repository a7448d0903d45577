"""The command `vlprompt report`."""

from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import Quiet, Runs, loading
from vlprompt.cli.output import find_runs_under
from vlprompt.errors import VLPromptError


def report(
    runs: Runs,
    out: Annotated[Path, typer.Option(metavar="FILE", help="HTML file to write.")] = Path("report.html"),
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            autocompletion=complete.methods,
            help="Method to compare the others with.  [default: zero-shot, if it was run]",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write an HTML report of all runs under some folders.

    The page has tables, paired tests, plots, results by class, and the commands that repeat the runs. It needs no
    other file and no network.

    Examples:
        vlprompt report runs/grid --out report.html
        vlprompt report runs/unified runs/paper --baseline coop
    """
    if out.is_dir():
        raise VLPromptError(f"--out {out} is a folder; name a file, such as report.html")
    with loading("reading runs", quiet):
        from vlprompt.results.report import make_report
        from vlprompt.utils.files import atomic_write

        found = find_runs_under(runs, predictions=True)
    atomic_write(out, make_report(found, baseline))
    if not quiet:
        print(f"wrote {out}")
