"""Commands that read records: table, plot, report."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.results.collect import Run

Runs = Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders with runs, at any depth.")]


class TableFormat(StrEnum):
    """How `vlprompt table` prints."""

    terminal = "terminal"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


class PlotFormat(StrEnum):
    """Files that `vlprompt plot` writes."""

    png = "png"
    svg = "svg"
    pdf = "pdf"


def table(
    runs: Runs,
    format_: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.terminal,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95% intervals by bootstrap over images and seeds.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(help="Methods with commas between them: paired tests of the others against the first."),
    ] = None,
) -> None:
    """Tables of all finished runs under RUNS, from their records alone.

    Runs of different protocols, recipes, splits or backbone weights never share a cell, and a cell whose seeds are not
    all finished says so in place of a number. Where the backbone is a paper's, what it printed stands beside.

    Examples:

        vlprompt table runs/grid

        vlprompt table runs/unified runs/paper --format markdown --intervals > results.md

        vlprompt table runs/grid --compare zero-shot,coop,dapt

        vlprompt table runs/grid --format latex > results.tex
    """
    from vlprompt.config.resolve import split_list
    from vlprompt.results import comparisons, formats, tables

    if intervals and compare is not None:
        raise VLPromptError("--intervals: leave it out with --compare, whose differences have intervals in any case")
    found = _find(runs)
    shown: list[tables.Table] | list[comparisons.Comparison]
    if compare is None:
        shown = made = tables.make_tables(found, intervals=intervals)
        as_csv = formats.tables_to_csv(made)
    else:
        shown = compared = comparisons.compare(found, split_list(compare))
        _say_left_out(line for comparison in compared for line in comparison.left_out)
        as_csv = formats.comparisons_to_csv(compared)
    match format_:
        case TableFormat.terminal:
            formats.print_tables(shown)
        case TableFormat.markdown:
            print(formats.to_markdown(shown), end="")
        case TableFormat.latex:
            print(formats.to_latex(shown), end="")
        case TableFormat.csv:
            print(as_csv, end="")


def plot(
    runs: Runs,
    out: Annotated[Path, typer.Option(help="Folder to write the plots into.")] = Path("plots"),
    format_: Annotated[PlotFormat, typer.Option("--format", help="Of the files.")] = PlotFormat.png,
) -> None:
    """Plots of all finished runs under RUNS: accuracy against shots, base against new, gain over zero-shot, time.

    A method has the same color and marker in all of them. What is not finished is left out, and said so.

    Examples:

        vlprompt plot runs/grid

        vlprompt plot runs/grid --out plots --format pdf
    """
    from vlprompt.results.rendering import write_plots

    for path, title in write_plots(_find(runs), out, format_.value):
        print(f"{path}  {title}")


def report(
    runs: Runs,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    baseline: Annotated[
        str | None, typer.Option(help="Method that the others are compared with; zero-shot if it was run.")
    ] = None,
) -> None:
    """One HTML page of all runs under RUNS: what was run, tables, paired tests, plots, classes, how to do it again.

    It needs no other file and no network.

    Examples:

        vlprompt report runs/grid --out report.html

        vlprompt report runs/unified runs/paper --baseline coop --out report.html
    """
    from vlprompt.results.report import make_report
    from vlprompt.utils.files import atomic_write

    if out.is_dir():
        raise VLPromptError(f"--out {out} is a folder; name the page to write, such as report.html")
    atomic_write(out, make_report(_find(runs), baseline))
    print(f"wrote {out}")


def _find(runs: list[Path]) -> "list[Run]":
    from vlprompt.results.collect import find_runs

    found, problems = find_runs(runs)
    _say_left_out(problems)
    return found


def _say_left_out(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)
