"""Daemon threads that parse and decode what clients send."""

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

# Weight of the latest job in the moving average of seconds per job.
LATEST = 0.3
# Seconds above which a job has probably decoded a large image.
LARGE = 0.2

Result = TypeVar("Result")


class ReaderThreads:
    """Threads that work on a queue of jobs.

    Unlike those of a `ThreadPoolExecutor` they are daemons: a decoder cannot be interrupted, and the process must be
    able to end before it does.

    Args:
        count: number of threads.
    """

    def __init__(self, count: int) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._pace = 0.0
        self._threads = [Thread(target=self._run, name="vlprompt-reader", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def wait(self) -> float:
        """Estimated seconds until the queue is empty, at the recent pace."""
        return self._queue.qsize() * self._pace / len(self._threads)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Queue a job; the future can be canceled until a thread takes it."""
        future: Future[Result] = Future()
        self._queue.put((future, work))
        return future

    def close(self) -> None:
        """End the threads after the queued jobs, without waiting for them."""
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        while job := self._queue.get():
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            begun = time.perf_counter()
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            seconds = time.perf_counter() - begun
            self._pace += (seconds - self._pace) * (LATEST if self._pace else 1.0)
            del job, future, work  # or they keep an image until the next job
            if seconds > LARGE:
                _return_memory()


def _return_memory() -> None:
    """Return free memory to the system; glibc keeps that of large images in its arenas."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
