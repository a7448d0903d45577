"""Locks between processes, on files. The system takes one back when its process ends, however it ends.

`filelock` does the locking. Ours is the rest: a lock file is removed with its lock and says who holds it, and where
files cannot be locked (a folder that cannot be written, some network file systems) every process goes on without.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class Lock:
    """A lock file that this process holds until `release`."""

    def __init__(self, path: Path, held: FileLock | None) -> None:
        self._path = path
        self._held = held

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._held is not None:
            # While it is held: who waits for the removed file notices, and makes another. `filelock` leaves it there.
            # Windows does not remove an open file; there it stays.
            with suppress(OSError):
                self._path.unlink()
            self._held.release()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def lock(path: Path) -> Lock:
    """Wait until nobody else holds the lock file `path`, and take it."""
    taken = _take(path, wait=True)
    assert taken is not None
    return taken


def try_lock(path: Path) -> Lock | None:
    """Take the lock file `path`, or return None if another process holds it."""
    return _take(path, wait=False)


def holder(path: Path) -> str:
    """Return who holds the lock file `path`, as "process 12 on machine", or "another process" if unknown."""
    try:
        return path.read_text() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


def _take(path: Path, *, wait: bool) -> Lock | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not thread_local: a grid may take a lock in one thread and release it in another. Its fallback where a system
        # has no flock, a file that exists, would outlive a killed process. It follows no symbolic links.
        held = FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=_sign)
        held.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except (OSError, NotImplementedError):
        return Lock(path, None)
    return Lock(path, held)


def _sign(handle: int) -> None:
    os.truncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
