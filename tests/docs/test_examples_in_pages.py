"""The Python of README.md and of pages without a test of their own, run as written: tiny data, one epoch."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlprompt
from tests.helpers.command_line import Call
from tests.helpers.runs import Tuned
from vlprompt.classifier import tune as tuning

ROOT = Path(__file__).parents[2]
TESTED_ELSEWHERE = {"api", "classifier", "export", "new_method", "pictoclip"}


def examples(page: Path) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"```python[^\n]*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PAGES = sorted(
    page
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    if page.stem not in TESTED_ELSEWHERE and examples(page)
)


@pytest.fixture
def desk(pictures: Path, tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name: images, a photograph, a run."""
    for name in ("images", "data/toys"):
        shutil.copytree(pictures, tmp_path / name)
    shutil.copyfile(pictures / "night" / "00.png", tmp_path / "holiday.jpg")
    shutil.copytree(tuned("coop", n_ctx=2), tmp_path / "runs" / "openmoji-dapt")
    monkeypatch.chdir(tmp_path)

    def brief(*words: Any, **options: Any) -> vlprompt.Classifier:
        """Tune the embedded model in place of the one for photographs."""
        return tuning.tune(*words, backbone="embedded", **options, epochs=1, quiet=True)

    monkeypatch.setattr(vlprompt, "tune", brief, raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs_as_written(page: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in examples(page):
        exec(compile(block, str(page), "exec"), names)
    match page.name:
        case "README.md" | "index.md":
            assert capsys.readouterr().out.strip() in names["classifier"].class_names
        case "datasets.md":
            assert names["toys"](None).class_names == ("blue sky", "green leaf", "night", "red apple")
        case "own-data.md":
            assert len(vlprompt.load_dataset("digits").class_names) == 10
        case "inspect.md":
            assert names["found"].images.features.after.ndim == 2


def test_the_readme_is_among_them() -> None:
    assert [page.stem for page in PAGES] == ["README", "backbones", "datasets", "index", "inspect", "own-data"]


def test_what_a_check_says_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLPROMPT_DATA", raising=False)
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^    \$ vlprompt data check dtd\n((?: {4}.*\n)+)", text, re.MULTILINE)
    assert call("data", "check", "dtd")[1] == re.sub("^    ", "", shown, flags=re.MULTILINE)
