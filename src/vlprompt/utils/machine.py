"""What this machine has to offer a process: memory, and cores for reading images."""

import os
import sys
from contextlib import suppress
from pathlib import Path

# Number of processes among which a grid divides this machine, set in their environment.
SHARE = "VLPROMPT_PROCESSES"
CGROUP = Path("/sys/fs/cgroup")
MOST_READERS = 8


def processes() -> int:
    """Return the number of processes that share this machine with this one, itself included."""
    return int(os.environ.get(SHARE, "1"))


def free_memory() -> int:
    """Return the bytes of free memory that this process may take, at most what its container allows.

    Outside Linux, where it is not known, 4 GB.
    """
    free = 4_000_000_000
    with suppress(OSError, StopIteration):
        free = _entry("MemAvailable")
    with suppress(OSError, ValueError):  # no container, or one without a limit, whose maximum is "max"
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, max(0, limit - used + _cached_files()))
    return free // processes()


def total_memory() -> int:
    """Return the bytes of this machine's memory, at most what its container allows; 4 GB where it is not known."""
    total = 4_000_000_000
    with suppress(OSError, StopIteration):
        total = _entry("MemTotal")
    with suppress(OSError, ValueError):
        total = min(total, int((CGROUP / "memory.max").read_text()))
    return total


def _entry(name: str) -> int:
    """Return the bytes of an entry of /proc/meminfo."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _cached_files() -> int:
    """Return the bytes of cached files that count as the container's memory and are freed when it needs more."""
    entries = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    return int(entries.get("inactive_file", 0))


def reader_count(workers: int | None, device: str) -> int:
    """Return the number of processes that read images.

    Args:
        workers: the number, or None for the best one: 0 beside a CPU's computations, which need the cores themselves,
            and where processes cannot be forked; on an accelerator all cores but one, at most 8.
        device: type of the device that the images are for.
    """
    if workers is not None:
        return workers
    if device == "cpu" or not sys.platform.startswith("linux"):
        return 0
    return max(0, min(MOST_READERS, len(os.sched_getaffinity(0)) // processes() - 1))
