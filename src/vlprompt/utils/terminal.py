"""Tables on the terminal, and the console that prints them."""

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table

from vlprompt.utils.clean_output import as_line, escape_controls

Cell = str | int | float | None
NUMBER = re.compile(r"[-+±<]?[\d.,]+(/\d+)?( ?%| seeds?)?( ?(±|to|\(|\[) ?.*)?|[-–]?")
# Width that a column of text keeps, if it has words of that length, before it breaks them.
WORD = 16


class CleanConsole(Console):
    """Console that escapes control characters in text; without markup, emoji codes and highlighting by default."""

    def __init__(self, *, stderr: bool = False, markup: bool = False) -> None:
        super().__init__(stderr=stderr, markup=markup, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render to segments, of which rich's own control segments are unchanged."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escape_controls(segment.text))


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
    lines = [None if row is None else ["" if cell is None else as_line(str(cell)) for cell in row] for row in rows]
    cells = [line for line in lines if line is not None]
    numeric = [bool(cells) and all(NUMBER.fullmatch(line[place]) for line in cells) for place in range(len(columns))]
    # Numbers keep their width and text the width of its words, so that only headings and long text wrap.
    narrowest = [
        max((len(part) for line in cells for part in ([line[place]] if number else line[place].split())), default=0)
        for place, number in enumerate(numeric)
    ]
    # Names of classes and files may look like markup.
    console = console or CleanConsole()
    table = Table(
        *(
            Column(
                as_line(name),
                justify="right" if number else "left",
                overflow="fold",
                min_width=width if number else min(width, WORD),
            )
            for name, number, width in zip(columns, numeric, narrowest, strict=True)
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
