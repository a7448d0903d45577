"""Peak memory of the device or the process."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import torch


def peak_memory_mb(device: torch.device) -> float | None:
    """Return the peak memory in MB since `reset_peak_memory`, or None if it is unknown.

    On CUDA this is device memory, otherwise the memory of this process. Outside Linux the latter cannot be reset and
    covers the whole life of the process.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    with suppress(OSError):
        # getrusage would include the peak of the parent process before exec.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found is not None:
            return round(int(found[1]) * 1024 / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of the peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
