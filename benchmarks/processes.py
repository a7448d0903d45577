"""Fresh processes to measure in."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

# Imported once and forked, where that is safe; by each process they take most of ten seconds. Without polars, which
# starts threads: only a process with a single one can be forked safely.
LIBRARIES = ["torch", "open_clip", "lightning_fabric", "torchmetrics", "pydantic", "scipy.optimize", "rich.progress"]


def process_context() -> Any:
    """Return the multiprocessing context that starts fresh processes."""
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(LIBRARIES)
    return context


def in_process(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function in a fresh process and return its result."""
    with ProcessPoolExecutor(1, mp_context=process_context()) as pool:
        return pool.submit(function, *arguments, **options).result()
