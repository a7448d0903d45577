"""The number of images per batch follows what batches gain."""

from types import SimpleNamespace
from typing import cast

import pytest
from torch import Tensor

from vlprompt import Classifier
from vlprompt.serve import batch_size
from vlprompt.serve.batch_size import efficient_batch


@pytest.mark.parametrize(
    ("fixed", "each", "limit", "expected"),
    [
        (0.0, 1.0, 16, 1),  # nothing is shared
        (0.1, 1.0, 16, 2),
        (0.5, 1.0, 16, 8),
        (1.0, 0.01, 16, 16),  # everything is
        (1.0, 0.01, 12, 8),
        (1.0, 0.01, 1, 1),
        (300.0, 1.0, 16, 1),  # two would take more than half a second
    ],
)
def test_batches_grow_while_they_gain(
    monkeypatch: pytest.MonkeyPatch, fixed: float, each: float, limit: int, expected: int
) -> None:
    now = 0.0

    def logits(pixels: Tensor) -> None:
        nonlocal now
        assert pixels.shape[1:] == (3, 8, 8)
        now += (fixed + each * len(pixels)) / 1000

    monkeypatch.setattr(batch_size.time, "perf_counter", lambda: now)
    method = SimpleNamespace(backbone=SimpleNamespace(image_size=8))
    fake = cast(Classifier, SimpleNamespace(method=method, logits=logits))
    assert efficient_batch(fake, limit) == expected
