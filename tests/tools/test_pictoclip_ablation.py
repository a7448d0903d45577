import json
from pathlib import Path

import pytest
from tools.pictoclip import ablate
from tools.pictoclip.ablate import Variant
from tools.pictoclip.data import TrainingSet

from tests.tools.test_pictoclip_training import TINY


def test_a_variant_buys_samples_by_its_cost_and_goes_on_where_it_stopped(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"batch": 16, "warmup_samples": 32}
    variants = {"recipe": Variant(small, TINY), "dear": Variant({**small, "icons": (0.5, 0.0)}, TINY, cost=2.0)}
    monkeypatch.setattr(ablate, "VARIANTS", variants)
    monkeypatch.setattr(ablate, "SAMPLES", 256)
    monkeypatch.setattr("tools.pictoclip.corpus.load", lambda *_: data.corpus)
    found = {(name, seed): ablate._train(tmp_path, name, seed) for name in variants for seed in (1, 2)}
    assert [found[name, 1]["samples"] for name in variants] == [256, 128]
    assert json.loads(ablate._result(tmp_path, "dear", 2).read_text()) == found["dear", 2]
    assert ablate._train(tmp_path, "recipe", 1) == found["recipe", 1], "a finished run is not trained again"

    rows = ablate.table(tmp_path).splitlines()
    assert len(rows) == 4
    color = [100 * found["recipe", seed]["color"] for seed in (1, 2)]
    assert f"| recipe | 256 | {sum(color) / 2:.1f} ± {abs(color[0] - color[1]) / 2:.1f} |" in rows[2]
