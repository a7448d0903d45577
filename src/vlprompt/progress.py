"""Progress of long work, on the terminal or nowhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column


class Bar(Protocol):
    """One piece of work that moves on."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps are over; `note` stands behind the bar."""


class Reporter:
    """Shows bars with the time left on stderr; a quiet one shows none."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)

    def say(self, line: str) -> None:
        """Print a line among the bars."""
        if not self.quiet:
            self.console.print(line, highlight=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Bar]:
        """A bar for one piece of work; it appears with its first step and stays when the work is over."""
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=len(title))),
            BarColumn(bar_width=16),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, disable=self.quiet) as progress:
            task = progress.add_task(title, total=None, note="", visible=False)

            def move(done: int, total: int, note: str = "") -> None:
                progress.update(task, completed=done, total=total, note=note, visible=True)

            yield move
