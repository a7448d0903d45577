"""The progress of slow work on many files, shown on a terminal and nowhere else."""

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

logger = logging.getLogger("vlprompt")

T = TypeVar("T")
MANY = 500


def tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items, with a bar on standard error if they are more than 500 and that is a terminal; a log line if not."""
    console = Console(stderr=True)
    if total > MANY and not console.is_terminal:
        logger.info("%s: %d files", what, total)
    shown = total > MANY and console.is_terminal
    yield from track(items, what, total, console=console, transient=True, disable=not shown)
