"""The command `vlprompt table`, and the tables that `vlprompt run` ends with."""

import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlprompt.cli.options import Json, Quiet, Runs, chosen_format, loading, output_format
from vlprompt.cli.output import print_json
from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.results.collect import Run
    from vlprompt.results.comparisons import Comparison
    from vlprompt.results.tables import Table

FORMATS = ("table", "json", "csv", "markdown", "latex")
TERMINAL = "terminal"  # what the format `table` was called formerly
NAMES = {"protocol", "backbone", "weights", "precision", "recipe", "dataset", "method", "against", "quantity", "of"}


def table(
    runs: Runs,
    form: Annotated[str, output_format(*FORMATS, former=(TERMINAL,))] = "table",
    as_json: Json = False,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95% bootstrap intervals over images and seeds.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Paired tests of methods B, C, ... against A, separated by commas."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Print tables of all finished runs under some folders.

    Runs with different protocols, recipes, splits or backbone weights never share a cell. A cell whose seeds are not
    all finished shows how many are. Where a paper used the same backbone, its number is shown beside ours.

    Examples:
        vlprompt table runs/grid
        vlprompt table runs/unified runs/paper --format markdown --intervals
        vlprompt table runs/grid --compare zero-shot,coop,dapt
        vlprompt table runs/grid --format latex > results.tex
    """
    form = chosen_format(form, as_json)
    if intervals and compare is not None:
        raise VLPromptError("--intervals: leave it out with --compare, whose differences always have intervals")
    with loading("reading runs", quiet):
        found = find(runs)
    if compare is None:
        print_tables(found, form, intervals=intervals)
        return
    from vlprompt.config.resolve import split_list
    from vlprompt.results import comparisons, formats

    compared = comparisons.compare(found, split_list(compare))
    report_left_out(line for comparison in compared for line in comparison.left_out)
    _print(compared, formats.comparisons_to_csv(compared), form)


def find(runs: Iterable[Path]) -> "list[Run]":
    """Return all runs under the folders; a record that cannot be read gets a line on stderr."""
    from vlprompt.results.collect import find_runs

    found, problems = find_runs(runs)
    report_left_out(problems)
    return found


def report_left_out(lines: Iterable[str]) -> None:
    """Print what is not in a result, and why, on stderr."""
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


def print_tables(found: "list[Run]", form: str, *, intervals: bool = False) -> None:
    """Print the tables of runs in a format of `FORMATS`."""
    from vlprompt.results import formats, tables

    made = tables.make_tables(found, intervals=intervals)
    _print(made, formats.tables_to_csv(made), form)


def _print(made: "list[Table] | list[Comparison]", as_csv: str, form: str) -> None:
    from vlprompt.results import formats

    match form:
        case "markdown":
            print(formats.to_markdown(made), end="")
        case "latex":
            print(formats.to_latex(made), end="")
        case "csv":
            print(as_csv, end="")
        case "json":
            rows = csv.DictReader(io.StringIO(as_csv))
            print_json([{key: _value(key, text) for key, text in row.items()} for row in rows])
        case _:
            formats.print_tables(made)


def _value(key: str, text: str) -> Any:
    """Return a cell of the CSV as JSON has it: null where it is empty, a number where the column holds numbers."""
    if text == "" or key in NAMES:
        return text or None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
