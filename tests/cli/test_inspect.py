"""`vlprompt inspect`: output, figures and errors."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Call
from tests.helpers.runs import Tuned, run_of


@pytest.fixture
def run(tuned: Tuned) -> Path:
    return run_of(tuned, "dapt")


def test_json(call: Call, run: Path, tmp_path: Path) -> None:
    code, out, err = call("inspect", run, "--json", "--device", "cpu", "--out", tmp_path)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["method"] == "dapt"
    assert [near["word"] for near in found["contexts"][0]["vectors"][0]["nearest"]]
    assert set(found["dispersion"]["modality_gap"]) == {"before", "after"}
    assert found["norms"]["text"][0]["tokens"] == found["vocabulary"]["norms"]
    assert found["attention"]["image"]["reader"] == "class token"
    assert set(found["figures"]) == {"dispersion", "embedding", "confusions", "attention", "norms"}
    assert all(Path(path).is_file() for path in found["figures"].values())


def test_tables_and_figures_beside_the_run(call: Call, run: Path) -> None:
    code, out, _ = call("inspect", run, "--device", "cpu")
    assert code == 0
    assert "dapt, 4 classes" in out
    assert f"figures: {run / 'inspect' / 'dispersion.png'}" in out
    assert (run / "inspect" / "norms.png").is_file()


def test_help_has_examples(call: Call) -> None:
    code, out, _ = call("inspect", "--help")
    assert code == 0
    assert "vlprompt inspect runs/mine --json > mine.json" in out


def test_quiet(call: Call, tuned: Tuned, tmp_path: Path) -> None:
    assert call("inspect", run_of(tuned, "zero-shot"), "-q", "--device", "cpu", "--out", tmp_path) == (0, "", "")
    assert len(list(tmp_path.iterdir())) == 3


def test_unwritable_output_folder(call: Call, run: Path) -> None:
    code, out, err = call("inspect", run, "--device", "cpu", "--out", run / "run.json")
    assert (code, out) == (2, "")
    assert "run.json is a file; name a folder" in err
    code, out, err = call("inspect", run, "--device", "cpu", "--out", run / "run.json" / "figures")
    assert code == 2
    assert "cannot be written (Not a directory)" in err
    assert "modality gap" in out  # the tables are printed before the figures are written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere is not a run folder: run.json is missing"),
        (["{run}", "--data", "nowhere"], "is neither an existing folder"),
        (["{run}", "--limit", "-1"], "--limit must be at least 0, got -1"),
        (["{run}", "--device", "abacus"], "--device must be auto, cpu, cuda, cuda:N or mps, got 'abacus'"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, call: Call, run: Path) -> None:
    code, _, err = call("inspect", *(word.format(run=run) for word in words))
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
