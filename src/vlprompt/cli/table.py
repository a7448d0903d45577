"""The command `vlprompt table`."""

from typing import Annotated

import typer

from vlprompt.cli.options import Json, Quiet, Runs, chosen_format, loading, output_format
from vlprompt.cli.output import TABLE_FORMATS, TERMINAL, find_runs_under, print_made, print_tables, report_left_out
from vlprompt.errors import VLPromptError


def table(
    runs: Runs,
    form: Annotated[str, output_format(*TABLE_FORMATS, former=(TERMINAL,))] = "table",
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

    Runs with different protocols, recipes, splits or backbone weights never share a cell. A cell with unfinished seeds
    shows the number of finished ones. Where a paper used the same backbone, its number is shown beside ours.

    Examples:
        vlprompt table runs/grid
        vlprompt table runs/unified runs/paper --format markdown --intervals
        vlprompt table runs/grid --compare zero-shot,coop,dapt
        vlprompt table runs/grid --format latex > results.tex
    """
    form = chosen_format(form, as_json)
    if intervals and compare is not None:
        raise VLPromptError("--intervals has no effect with --compare, which always has intervals; leave it out")
    with loading("reading runs", quiet):
        found = find_runs_under(runs, predictions=intervals or compare is not None)
    if compare is None:
        print_tables(found, form, intervals=intervals)
        return
    from vlprompt.config.resolve import parse_names
    from vlprompt.results import comparisons, formats

    compared = comparisons.compare(found, parse_names("compare", compare))
    report_left_out(line for comparison in compared for line in comparison.left_out)
    print_made(compared, formats.comparisons_to_csv, form)
