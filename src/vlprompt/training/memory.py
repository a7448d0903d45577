"""How much memory a run took."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import torch


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory in MB since `reset_peak_memory`: of the accelerator where it counts it, else of this process.

    None where neither is known. Where the peak of a process cannot be reset (not Linux), it is that of all its life.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    with suppress(OSError):
        # Not that of getrusage, which counts what the process was started from.
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
    """Forget what earlier runs of this process took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
