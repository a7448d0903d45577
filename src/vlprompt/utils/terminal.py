"""Tables on the terminal."""

import re
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Column, Table

Cell = str | int | float | None
NUMBER = re.compile(r"[-+±]?[\d.,]+( ?%)?( ?(±|to|\() ?.*)?|[-–]?")


def print_table(
    rows: Iterable[Sequence[Cell] | None],
    columns: Sequence[str],
    *,
    title: str | None = None,
    console: Console | None = None,
) -> None:
    """Print a table that fits the terminal's width, or 80 columns if the output is not a terminal.

    Columns of numbers are right-aligned and never wrapped; long text wraps.

    Args:
        rows: one cell per column: text, a number, or None for an empty cell. A row that is None draws a rule.
        columns: column headings.
        title: title above the table.
        console: console to print to; by default standard output.

    Examples:
        >>> print_table([("coop", 71.2), ("maple", 68.9)], ["method", "accuracy %"])  # doctest: +SKIP
    """
    lines = [None if row is None else ["" if cell is None else str(cell) for cell in row] for row in rows]
    cells = [line for line in lines if line is not None]
    numeric = [bool(cells) and all(NUMBER.fullmatch(line[place]) for line in cells) for place in range(len(columns))]
    # Names of classes and files may look like markup.
    console = console or Console(markup=False, emoji=False, highlight=False)
    table = Table(
        *(
            Column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
            for name, number in zip(columns, numeric, strict=True)
        ),
        title=title,
        title_justify="left",
    )
    for line in lines:
        if line is None:
            table.add_section()
        else:
            table.add_row(*line)
    console.print(table)
