"""Trials of settings on validation images."""

from pathlib import Path

import pytest
from tools import choose

from vlprompt.data.loading import load_dataset
from vlprompt.runs.record import read_records

pytest.importorskip("fontawesomefree", reason="the extra `pictures` is not installed")


def test_trials_are_tested_on_validation_images_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = ["--trial", "optim.epochs=1", "--trial", "optim.epochs=1,optim.lr=0.01"]
    common = ["--datasets", "fontawesome", "--seeds", "1", "--shots", "1"]
    monkeypatch.setattr("sys.argv", ["choose", "coop", "--out", str(tmp_path), *trials, *common])
    choose.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == trials[1::2]

    records, problems = read_records(tmp_path)
    assert not problems and len(records) == 2
    validation = len(load_dataset("fontawesome").val)
    for record, row in zip(records.values(), rows, strict=True):
        assert sum(record.tests[test].images for test in choose.TESTS) == validation
        base, new = (record.metrics[test]["accuracy"] for test in choose.TESTS)
        assert [cell.strip() for cell in row[2:4]] == [f"{base:.1f}", f"{new:.1f}"]
