"""The one table printer (stand-in of this branch; the parcel DATA owns this file)."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(rows: Iterable[Sequence[object]], columns: Sequence[str], *, title: str | None = None) -> None:
    """Print rows under their columns' names, numbers at the right."""
    shown = [[str(cell) for cell in row] for row in rows]
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        cells = [row[place] for row in shown if row[place]]
        numeric = bool(cells) and all(cell.replace(",", "").replace(".", "").strip("%-+").isdigit() for cell in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        table.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(table)
