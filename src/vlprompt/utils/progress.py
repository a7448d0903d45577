"""Progress bars and messages on standard error."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

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

from vlprompt.utils.clean_output import as_line
from vlprompt.utils.terminal import CleanConsole

logger = logging.getLogger("vlprompt")

T = TypeVar("T")
R = TypeVar("R")

# `tracked` shows progress for more items than this.
MANY = 500
# Items submitted to the threads at once: queueing a million files would take gigabytes, and Ctrl-C would wait for all.
CHUNK = 4096
# Text after a bar, or a function that returns it and is called a few times a second, since it may wait for a device.
Note = Callable[[], str] | str
INTERVAL = 0.2  # seconds between two such calls, and between two updates that are sent to another process


class Bar(Protocol):
    """Function that updates a progress bar."""

    def __call__(self, done: int, total: int, note: Note = "") -> None:
        """Show `done` of `total` steps, with `note` after the bar."""


class Reporter:
    """Progress bars with the time left, and lines of text, on standard error.

    Args:
        quiet: show warnings only.
        transient: remove the outermost bar when it is done.
    """

    # The reporter whose bars are on screen; `tracked` shows its own below them.
    _on_screen: "Reporter | None" = None

    def __init__(self, *, quiet: bool = False, transient: bool = False) -> None:
        self.quiet = quiet
        self.console = CleanConsole(stderr=True, markup=True)
        self._transient = transient
        self._shown: Progress | None = None

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        if not self.quiet:
            self.console.print(as_line(line), highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line even if quiet, without interpreting markup."""
        self.console.print(as_line(line), highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """Show a progress bar from its first step on.

        A bar opened while another is open is shown below it, and removed when it is done.

        Args:
            title: text before the bar.
            clock: whether to show the time left; use False if steps take very different times.
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
        # A transient bar would leave an empty line where nothing can be removed.
        disable = self.quiet or (self._transient and not self.console.is_terminal)
        return Progress(*columns, console=self.console, disable=disable, transient=self._transient)


class Relay(Reporter):
    """Reporter that sends warnings, and bar updates at most five times a second, to the parent process."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(quiet=True)
        self._send = send

    def warn(self, line: str) -> None:
        """Send a line to the parent process."""
        self._send({"warn": line})

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Iterator[Bar]:
        """Open a bar whose steps are sent as [title, done, total, note]."""
        sent = -math.inf

        def move(done: int, total: int, note: Note = "") -> None:
            nonlocal sent
            if time.monotonic() - sent >= INTERVAL:
                sent = time.monotonic()
                self._send({"step": [title, done, total, note if isinstance(note, str) else note()]})

        yield move


def tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items; show progress for more than 500 of them, as a bar on a terminal or else as a log line."""
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
    """Map a function over items in threads; yield results in order and show progress as `tracked` does."""

    def results() -> Iterator[R]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(items), CHUNK):
                yield from pool.map(function, items[start : start + CHUNK])

    yield from tracked(results(), what, len(items))


class _TimeLeft(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["clock"] else Text("")


class _Note(ProgressColumn):
    """Column with the note of a bar, truncated to the width that the bar leaves."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def _move(progress: Progress, title: str, clock: bool) -> tuple[TaskID, Bar]:
    task = progress.add_task(title, total=None, note="", clock=clock, visible=False)

    read, shown = -math.inf, ""

    def move(done: int, total: int, note: Note = "") -> None:
        nonlocal read, shown
        if isinstance(note, str):
            shown = note
        elif done >= total or time.monotonic() - read >= INTERVAL:
            read, shown = time.monotonic(), note()
        progress.update(task, completed=done, total=total, note=shown, visible=True)

    return task, move
