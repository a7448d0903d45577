"""Commands of many runs: run, table."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.common import Backbone, Quiet, RunDevice, Verbose, set_up_logging


class TableFormat(StrEnum):
    """How `vlprompt table` prints."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"


def run(
    protocol: Annotated[str, typer.Argument(help="few-shot or base-to-new.")],
    methods: Annotated[str, typer.Option(help="Names with commas between them, options in brackets: `coop,dapt`.")],
    datasets: Annotated[str, typer.Option(help="Names or paths, with commas between them.")],
    out: Annotated[Path, typer.Option(help="The grid's folder, with a run's folder for each cell.")],
    shots: Annotated[str, typer.Option(help="Training images of each class.")] = "16",
    seeds: Annotated[str, typer.Option(help="A run for each.")] = "1,2,3",
    recipe: Annotated[
        str,
        typer.Option(help="paper (each method's own), unified (one for all), or a .yaml file without a method."),
    ] = "paper",
    backbone: Backbone = None,
    device: RunDevice = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, for every cell.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run every method on every dataset with every number of shots and every seed, then print the table.

    Cells that are finished are skipped and interrupted ones go on, so the same command again completes a grid.

    Examples:

        vlprompt run few-shot --methods zero-shot,coop,dapt --datasets openmoji --shots 1,4,16 --out runs/grid

        vlprompt run base-to-new --methods "dapt,dapt[beta_text=0]" --datasets openmoji,fontawesome --out runs/betas

        vlprompt run few-shot --methods coop,maple --datasets pictures/ --recipe unified --out runs/unified
    """
    set_up_logging(quiet, verbose, usual=logging.WARNING)
    from vlprompt.progress import Reporter
    from vlprompt.protocols import grid

    reporter = Reporter(quiet=quiet)
    planned = grid.plan(
        protocol,
        grid.split_list(methods),
        grid.split_list(datasets),
        shots=grid.numbers("--shots", shots),
        seeds=grid.numbers("--seeds", seeds),
        out=out,
        recipe=recipe,
        flags={"backbone.source": backbone, "runtime.device": device},
        settings=set_,
    )
    if dry_run:
        for cell in planned.cells:
            print(f"{cell.folder}  {planned.state(cell)}")
        reporter.say(planned.summary())
        return
    reporter.say(planned.summary())
    try:
        failed = planned.run(reporter)
    except KeyboardInterrupt:
        print(f"interrupted; go on with the same command (--out {out})", file=sys.stderr)
        sys.exit(130)
    if planned.finished and not quiet:
        from vlprompt.results.collect import find_runs
        from vlprompt.results.tables import make_tables, print_tables

        print_tables(make_tables(find_runs(cell.folder for cell in planned.cells if cell.folder.is_dir())[0]))
    if failed:
        print(f"{len(failed)} of {len(planned.cells)} cells failed", file=sys.stderr)
        raise typer.Exit(1)


def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders with runs, at any depth.")],
    format_: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.terminal,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95% intervals by bootstrap over images and seeds.")
    ] = False,
) -> None:
    """Tables of all finished runs under RUNS, from their records alone.

    Runs of different protocols, recipes, splits or backbone weights never share a cell, and a cell whose seeds are not
    all finished says so in place of a number.

    Examples:

        vlprompt table runs/grid

        vlprompt table runs/unified runs/paper --format markdown --intervals > results.md

        vlprompt table runs/grid --format csv > results.csv
    """
    from vlprompt.results.collect import find_runs
    from vlprompt.results.tables import make_tables, print_tables, to_csv, to_markdown

    found, problems = find_runs(runs)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    tables = make_tables(found, intervals=intervals)
    if format_ is TableFormat.terminal:
        print_tables(tables, intervals=intervals)
    else:
        text = to_csv(tables) if format_ is TableFormat.csv else to_markdown(tables, intervals=intervals)
        print(text, end="")
