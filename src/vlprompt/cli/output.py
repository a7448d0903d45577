"""Print results on stdout: rows, tables of runs and JSON, in the formats that commands share."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vlprompt.errors import VLPromptError
from vlprompt.utils.clean_output import as_line

if TYPE_CHECKING:
    from vlprompt.results.collect import Run
    from vlprompt.results.comparisons import Comparison
    from vlprompt.results.tables import Table

    T = TypeVar("T", Table, Comparison)

TABLE_FORMATS = ("table", "json", "csv", "markdown", "latex")
TERMINAL = "terminal"  # former name of the format `table`
NAMES = {"protocol", "backbone", "weights", "precision", "recipe", "dataset", "method", "against", "quantity", "of"}


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, default=str))


def print_rows(rows: Sequence[Sequence[str]], columns: Sequence[str], form: str, *, title: str | None = None) -> None:
    """Print rows of text as a "table", "csv" or "markdown"."""
    from vlprompt.utils.strings import csv_cell, markdown_row, markdown_text

    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([map(csv_cell, row) for row in rows])
    elif form == "markdown":
        for cells in (columns, ["---"] * len(columns), *rows):
            print(markdown_row(map(markdown_text, cells)))
    else:
        from vlprompt.utils.terminal import print_table

        print_table(rows, columns, title=title)


def find_runs_under(runs: Iterable[Path], *, predictions: bool = False) -> "list[Run]":
    """Find all runs under the folders, and report on stderr what is left out.

    Args:
        runs: the folders.
        predictions: also leave out runs whose predictions contradict their record or those of other runs.
    """
    from vlprompt.results.collect import find_runs
    from vlprompt.results.quantities import with_sound_predictions

    found, problems = find_runs(runs)
    if predictions:
        found, unsound = with_sound_predictions(found)
        problems += unsound
        if not found:
            raise VLPromptError(f"no runs with sound predictions: {problems[-1]}")
    report_left_out(problems)
    return found


def report_left_out(lines: Iterable[str]) -> None:
    """Print on stderr what is left out of a result, and why."""
    for line in lines:
        print(as_line(f"left out: {line}"), file=sys.stderr)


def print_tables(found: "list[Run]", form: str, *, intervals: bool = False) -> None:
    """Print the tables of runs in a format of `TABLE_FORMATS`."""
    from vlprompt.results import formats, tables

    made = tables.make_tables(found, intervals=intervals)
    print_made(made, formats.tables_to_csv, form)


def print_made(made: "list[T]", to_csv: "Callable[[list[T]], str]", form: str) -> None:
    """Print tables or comparisons in a format of `TABLE_FORMATS`; `to_csv` serves csv and json."""
    from vlprompt.results import formats

    match form:
        case "markdown":
            print(formats.to_markdown(made), end="")
        case "latex":
            print(formats.to_latex(made), end="")
        case "csv":
            print(to_csv(made), end="")
        case "json":
            rows = csv.DictReader(io.StringIO(to_csv(made)))
            print_json([{key: _value(key, text) for key, text in row.items()} for row in rows])
        case _:
            formats.print_tables(made)


def _value(key: str, text: str) -> Any:
    """Convert a CSV cell for JSON: empty to null, and numbers to numbers except in columns of names."""
    if text == "" or key in NAMES:
        from vlprompt.utils.strings import csv_cell

        return (text[1:] if csv_cell(text[1:]) == text else text) or None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
