import json
from dataclasses import replace
from pathlib import Path

import pytest
from tools.pictoclip import ablate
from tools.pictoclip.ablate import Bench, Variant, compare, table
from tools.pictoclip.data import TrainingSet

from tests.tools.test_pictoclip_training import TINY


@pytest.fixture
def bench(data: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> Bench:
    small = {"batch": 16, "warmup_steps": 2}
    variants = {"recipe": Variant(small, TINY), "icons": Variant({**small, "icons": (0.5, 0.0)}, TINY)}
    monkeypatch.setattr(ablate, "VARIANTS", variants)
    monkeypatch.setattr(ablate, "Shape", lambda: TINY)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return replace(Bench.of(data), batch=16)


def test_variants_are_compared_and_not_repeated(bench: Bench, tmp_path: Path) -> None:
    runs = [(name, seed) for name in ablate.VARIANTS for seed in (1, 2)]
    found = {run: compare(bench, *run, lambda variant: 48, tmp_path) for run in runs}
    assert [row["samples"] for row in found.values()] == [48] * 4
    assert json.loads((tmp_path / "icons-2.json").read_text()) == found["icons", 2]
    assert compare(bench, "recipe", 1, lambda variant: 80, tmp_path) == found["recipe", 1], (
        "a finished run is not trained again"
    )

    rows = table(tmp_path, list(ablate.VARIANTS)).splitlines()
    assert len(rows) == 4
    probe = [100 * found["recipe", seed]["probe"] for seed in (1, 2)]
    assert rows[2].startswith("| recipe | 48 |")
    assert rows[2].endswith(f"| {sum(probe) / 2:.1f} ± {abs(probe[0] - probe[1]) / 2:.1f} |")


def test_a_run_has_as_many_samples_as_its_time_allows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(ablate, "_now", lambda device: next(clock))
    samples = bench.samples_within(ablate.VARIANTS["recipe"], 10, steps=4)
    assert samples == 320, "two steps of 16 in a second, at each stage"
