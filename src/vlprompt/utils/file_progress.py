"""The progress of slow work on many files, shown on a terminal and nowhere else."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

logger = logging.getLogger("vlprompt")

T = TypeVar("T")
R = TypeVar("R")
MANY = 500
# Work that is handed to the threads at once: a million files would take gigabytes as a queue, and no Ctrl-C.
CHUNK = 4096


def tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items, with a bar on standard error if they are more than 500 and that is a terminal; a log line if not."""
    console = Console(stderr=True)
    if total > MANY and not console.is_terminal:
        logger.info("%s: %d files", what, total)
    shown = total > MANY and console.is_terminal
    yield from track(items, what, total, console=console, transient=True, disable=not shown)


def in_threads(function: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
    """What a function gives for each of many items, in their order, with a bar as `tracked` shows it."""

    def results() -> Iterator[R]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(items), CHUNK):
                yield from pool.map(function, items[start : start + CHUNK])

    yield from tracked(results(), what, len(items))
