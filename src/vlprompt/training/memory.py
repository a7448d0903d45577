"""How much memory a run took."""

import sys

import torch


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory in MB: of the accelerator where it counts it, else of this process; None where neither is known."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)
