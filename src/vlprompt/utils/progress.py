"""Progress of long work, shown on standard error."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

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

logger = logging.getLogger("vlprompt")

T = TypeVar("T")
R = TypeVar("R")

# Files from which on `tracked` shows how far it is.
MANY = 500
# Items handed to the threads at once: a million files would take gigabytes as a queue, and Ctrl-C would wait for them.
CHUNK = 4096


class Bar(Protocol):
    """The progress bar of one piece of work."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total` steps, with `note` behind the bar."""


class Reporter:
    """Show progress bars with the time left, and lines of text, on standard error.

    Args:
        quiet: show warnings only.
        transient: remove the outermost bar when its work is over.
    """

    # The one whose bars are on the screen, below which `tracked` shows its own.
    _on_screen: "Reporter | None" = None

    def __init__(self, *, quiet: bool = False, transient: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self._transient = transient
        self._shown: Progress | None = None

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        if not self.quiet:
            self.console.print(line, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line even if quiet. What looks like markup is printed unchanged."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """Show a bar for one piece of work, from its first step on.

        A bar that is opened while another is open is shown below it, and removed when its work is over.

        Args:
            title: stands before the bar.
            clock: whether to show the time left; not for steps that are too unlike one another to tell.
        """
        if self._shown is None:
            with self._display(title) as self._shown:
                outer, Reporter._on_screen = Reporter._on_screen, self
                try:
                    yield _move(self._shown, title, clock)[1]
                finally:
                    self._shown, Reporter._on_screen = None, outer
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
        return Progress(*columns, console=self.console, disable=self.quiet, transient=self._transient)


class Relay(Reporter):
    """Send warnings, and the state of bars at most five times a second, to the process that shows them."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(quiet=True)
        self._send = send

    def warn(self, line: str) -> None:
        """Send a line."""
        self._send({"warn": line})

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """Open a bar whose steps are sent as [title, done, total, note]."""
        sent = 0.0

        def move(done: int, total: int, note: str = "") -> None:
            nonlocal sent
            if time.monotonic() - sent >= 0.2:
                sent = time.monotonic()
                self._send({"step": [title, done, total, note]})

        yield move


def tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items, showing progress if there are more than 500: a bar on a terminal, a log line elsewhere."""
    if total <= MANY:
        yield from items
        return
    reporter = Reporter._on_screen or Reporter(transient=True)
    if not reporter.console.is_terminal:
        logger.info("%s: %d files", what, total)
        yield from items
        return
    with reporter.bar(what) as bar:
        for done, item in enumerate(items):
            bar(done, total)
            yield item


def in_threads(function: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
    """Yield the function's result for each item, in order, computed in threads and shown as by `tracked`."""

    def results() -> Iterator[R]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(items), CHUNK):
                yield from pool.map(function, items[start : start + CHUNK])

    yield from tracked(results(), what, len(items))


class _TimeLeft(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["clock"] else Text("")


class _Note(ProgressColumn):
    """As much of the note as fits on the line; on a narrow terminal it gives way to the bar."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def _move(progress: Progress, title: str, clock: bool) -> tuple[TaskID, Bar]:
    task = progress.add_task(title, total=None, note="", clock=clock, visible=False)

    def move(done: int, total: int, note: str = "") -> None:
        progress.update(task, completed=done, total=total, note=note, visible=True)

    return task, move
