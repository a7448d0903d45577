"""Locks between processes, on files. The system takes one back when its process ends, however it ends: none is stale.

Where files cannot be locked (a folder that cannot be written, some network file systems, Windows), nobody is kept out.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A lock file that this process holds until `release`."""

    def __init__(self, path: Path, handle: int | None) -> None:
        self._path = path
        self._handle = handle

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._handle is not None:
            with suppress(OSError):
                self._path.unlink()  # while it is held: whoever waits for it sees that it is gone
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def lock(path: Path) -> Lock:
    """The lock `path`, as soon as nobody else holds it."""
    taken = _take(path, wait=True)
    assert taken is not None
    return taken


def try_lock(path: Path) -> Lock | None:
    """The lock `path`, or None where another process holds it."""
    return _take(path, wait=False)


def holder(path: Path) -> str:
    """Who holds the lock: its process and machine."""
    try:
        return path.read_text() or "another process"
    except OSError:
        return "another process"


def _take(path: Path, *, wait: bool) -> Lock | None:
    while fcntl is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A link in a folder that others write into, too, must not lead to a file of ours.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError:
            break
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(handle).st_nlink:
                os.truncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return Lock(path, handle)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed it meanwhile
    return Lock(path, None)
