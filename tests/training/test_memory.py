import sys

import pytest
import torch

from vlprompt.training.memory import peak_memory_mb, reset_peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a process's peak")
def test_peak_memory_is_measured_since_reset() -> None:
    reset_peak_memory(CPU)
    before = peak_memory_mb(CPU)
    assert before is not None
    block = torch.ones(50_000_000)  # 200 MB
    during = peak_memory_mb(CPU)
    assert during is not None and during > before + 150
    del block
    assert (peak_memory_mb(CPU) or 0) > before + 150
    reset_peak_memory(CPU)
    assert (peak_memory_mb(CPU) or 0) < before + 50
