"""Progress of long work, on the terminal or nowhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class Bar(Protocol):
    """One piece of work that moves on."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps are over; `note` stands behind the bar."""


class Reporter:
    """Shows bars with the time left on stderr; a quiet one shows none."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self._shown: Progress | None = None

    def say(self, line: str) -> None:
        """Print a line among the bars."""
        if not self.quiet:
            self.console.print(line, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line that a quiet reporter prints, too, and markup in it as it is."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """A bar for one piece of work; it appears with its first step and stays when the work is over.

        One that is opened while another is open stands below it, and goes when its work is over. `clock=False`
        shows no time left, for steps that are too unlike one another to tell.
        """
        if self._shown is None:
            with self._display(title) as self._shown:
                try:
                    yield _move(self._shown, title, clock)[1]
                finally:
                    self._shown = None
        else:
            task, move = _move(self._shown, title, clock)
            try:
                yield move
            finally:
                self._shown.remove_task(task)

    def _display(self, title: str) -> Progress:
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=len(title))),
            BarColumn(bar_width=16, table_column=Column(no_wrap=True, min_width=16)),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            _TimeLeft(table_column=Column(no_wrap=True, min_width=7)),
            _Note(),
        )
        return Progress(*columns, console=self.console, disable=self.quiet)


class Relay(Reporter):
    """Sends what a reporter would show to another process: warnings, and bars at most five times a second."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(quiet=True)
        self._send = send

    def warn(self, line: str) -> None:
        """Send the line."""
        self._send({"warn": line})

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """A bar whose steps are sent as [title, done, total, note]."""
        sent = 0.0

        def move(done: int, total: int, note: str = "") -> None:
            nonlocal sent
            if time.monotonic() - sent >= 0.2:
                sent = time.monotonic()
                self._send({"step": [title, done, total, note]})

        yield move


class _TimeLeft(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["clock"] else Text("")


class _Note(ProgressColumn):
    """As much as fits on the line: what gives way where the terminal is narrow."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def _move(progress: Progress, title: str, clock: bool) -> tuple[TaskID, Bar]:
    task = progress.add_task(title, total=None, note="", clock=clock, visible=False)

    def move(done: int, total: int, note: str = "") -> None:
        progress.update(task, completed=done, total=total, note=note, visible=True)

    return task, move
