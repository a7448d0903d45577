"""`vlprompt quickstart` with one shot and one epoch."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlprompt.cli import quickstart
from vlprompt.runs.record import read_record
from vlprompt.utils.progress import Reporter

pytest.importorskip("fontawesomefree", reason="the extra `pictures` is not installed")


@pytest.mark.usefixtures("without_photos")
def test_quickstart_writes_table_and_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shorter: dict[str, Any] = {**quickstart.SETTINGS, "data.source": "fontawesome", "data.shots": 1, "optim.epochs": 1}
    monkeypatch.setattr(quickstart, "SETTINGS", shorter)
    monkeypatch.setattr(quickstart, "DATA", "fontawesome")  # pictobench takes longer to render
    monkeypatch.setattr(quickstart, "METHODS", ("zero-shot", "coop", "dapt"))  # and other methods to train
    quickstart.run_quickstart(tmp_path, Reporter(quiet=True))
    out = capsys.readouterr().out
    probe = read_record(tmp_path / "zero-shot").baselines["linear-probe"]["base"]
    assert [line.split("│")[2].strip() for line in out.splitlines() if "linear probe" in line] == [f"{probe:.1f}"]
    for method in quickstart.METHODS:
        record = read_record(tmp_path / method)
        assert (record.status, record.config.protocol) == ("finished", "base-to-new")
        assert f"{record.metrics['harmonic_mean']:.1f}" in out
        assert f"{record.trainable_parameters:,}" in out
    assert Image.open(tmp_path / "predictions.png").width > 500
    assert "vlprompt tune PATH/TO/FOLDER" in out

    before = (tmp_path / "dapt" / "run.json").read_bytes()
    quickstart.run_quickstart(tmp_path, Reporter(quiet=True))
    assert (tmp_path / "dapt" / "run.json").read_bytes() == before
