"""File locks between processes. The operating system releases a lock when its process ends, even if it is killed.

`filelock` does the locking. This module adds that a lock file names its holder and is removed on release, and that
processes go on without a lock where files cannot be locked (read-only folders, some network file systems).
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class Lock:
    """Lock file that this process holds until `release`."""

    def __init__(self, path: Path, held: FileLock | None) -> None:
        self._path = path
        self._held = held

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._held is not None:
            # Remove the file before releasing it: a waiting process notices and creates a new one. `filelock` itself
            # keeps the file. Windows cannot remove an open file, so it stays there.
            with suppress(OSError):
                self._path.unlink()
            self._held.release()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def lock(path: Path) -> Lock:
    """Acquire the lock file `path`, waiting until no other process holds it."""
    taken = _take(path, wait=True)
    assert taken is not None
    return taken


def try_lock(path: Path) -> Lock | None:
    """Acquire the lock file `path`, or return None if another process holds it."""
    return _take(path, wait=False)


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock file `path`."""
    taken = try_lock(path) if path.exists() else None
    if taken is not None:
        taken.release()
    return path.exists() and taken is None


def holder(path: Path) -> str:
    """Return the holder of the lock file `path`, such as "process 12 on machine", or "another process"."""
    try:
        return path.read_text() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


def _take(path: Path, *, wait: bool) -> Lock | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not thread_local: a grid may acquire a lock in one thread and release it in another. Not the soft fallback
        # for systems without flock: its lock file would outlive a killed process. filelock follows no symbolic links.
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
