"""Rows of results as a table, JSON, CSV or Markdown on stdout."""

import csv
import json
import sys
from collections.abc import Sequence
from typing import Any


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, default=str))


def print_rows(rows: Sequence[Sequence[str]], columns: Sequence[str], form: str, *, title: str | None = None) -> None:
    """Print rows of text as a "table", "csv" or "markdown"."""
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    elif form == "markdown":
        for cells in (columns, ["---"] * len(columns), *rows):
            print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    else:
        from vlprompt.utils.terminal import print_table

        print_table(rows, columns, title=title)
