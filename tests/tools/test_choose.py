"""Trials of settings on validation images."""

from pathlib import Path

import pytest
from tools import choose

from vlprompt.data.loading import load_dataset
from vlprompt.runs.record import read_records

pytest.importorskip("fontawesomefree", reason="the extra `pictures` is not installed")


@pytest.mark.parametrize("protocol", choose.TESTS)
def test_trials_are_tested_on_validation_images_alone(
    protocol: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = ["--trial", "optim.epochs=1", "--trial", "optim.epochs=1,optim.lr=0.01"]
    common = ["--protocol", protocol, "--datasets", "fontawesome", "--seeds", "1", "--shots", "1"]
    monkeypatch.setattr("sys.argv", ["choose", "coop", "--out", str(tmp_path), *trials, *common])
    choose.main()
    head, _, *lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in rows] == trials[1::2]

    records, problems = read_records(tmp_path)
    assert not problems and len(records) == 2
    validation, tests = len(load_dataset("fontawesome").val), choose.TESTS[protocol]
    assert head == f"| settings | {' | '.join((*tests, *['H'] * (len(tests) == 2), 'seconds'))} |"
    for record, row in zip(records.values(), rows, strict=True):
        assert sum(record.tests[test].images for test in tests) == validation
        assert row[1 : 1 + len(tests)] == [f"{record.metrics[test]['accuracy']:.1f}" for test in tests]
