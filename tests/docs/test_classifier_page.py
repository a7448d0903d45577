"""Python examples of docs/classifier.md run, with fewer epochs."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlprompt
from vlprompt.classifier import tune as tuning

PAGE = Path(__file__).parents[2] / "docs" / "classifier.md"


@pytest.mark.slow
def test_page_examples_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pictures, tmp_path / "my_images")
    monkeypatch.chdir(tmp_path)

    def brief(*words: Any, **options: Any) -> vlprompt.Classifier:
        return tuning.tune(*words, backbone="embedded", **options, epochs=1, quiet=True)

    monkeypatch.setattr(vlprompt, "tune", brief, raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    out = capsys.readouterr().out.splitlines()
    assert out[0] in names["classifier"].class_names
    assert len(out) == 5
    assert out[-1].endswith("(12, 2)")
    assert names["again"].class_names == names["classifier"].class_names == names["frozen"].class_names
