"""`vlprompt run`: output, exit codes and errors."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Call
from vlprompt.config.schema import RunConfig
from vlprompt.data import loading
from vlprompt.experiments.engines import worker
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord


def test_grid_prints_its_table_and_skips_finished_cells(call: Call, pictures: Path, tmp_path: Path) -> None:
    words = ["run", "few-shot", "--methods", "coop,dapt[n_text=2]", "--datasets", pictures, "--shots", 1]
    words += ["--seeds", "1,2", "--backbone", "embedded", "--recipe", "unified", "--epochs", 1]
    words += ["--set", "data.views=1", "--out", tmp_path / "grid"]
    code, out, err = call(*words, "--dry-run")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "dapt,n_text=2/shots-1/seed-2  to run" in out
    assert re.search(r"4 cells: 0 finished, 4 to run; (less than a minute|about)", err)
    assert not (tmp_path / "grid").exists()

    code, table, err = call(*words)
    assert code == 0
    assert "4/4  pictures0, dapt[n_text=2], 1 shot, seed 2: test " in err
    assert "few-shot, recipe unified, optim.epochs=1, data.views=1, backbone pictoclip fp32" in " ".join(table.split())
    assert table.count("2/2") == 2
    code, again, err = call(*words)
    assert (code, again) == (0, table)
    assert err.startswith("4 cells: 4 finished, 0 to run\n")
    assert call("table", tmp_path)[:2] == (0, table)

    markdown = call("table", tmp_path, "--format", "markdown", "--intervals")[1]
    assert "| `dapt[n_text=2]` |" in markdown
    assert "95% interval" in markdown
    cells = json.loads(call(*words, "--json")[1])
    assert cells == json.loads(call("table", tmp_path, "--json")[1])
    assert {cell["method"] for cell in cells} == {"coop", "dapt[n_text=2]"} and cells[0]["have"] == 2
    assert call("table", tmp_path, "--format", "csv")[1].startswith("protocol,backbone,weights,")

    record = tmp_path / "grid/few-shot/pictures0/coop/shots-1/seed-1/run.json"
    record.write_text("{")
    code, table, err = call(*words)
    assert code == 1
    assert "failed: pictures0, coop, 1 shot, seed 1: " in err
    assert err.endswith("1 of 4 cells failed\n")
    code, table, err = call("table", tmp_path)
    assert code == 0
    assert "1/2 seeds" in table
    assert err.startswith("left out: ")


def test_group_of_datasets(call: Call, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "others"
    shutil.copytree(pictures, other)
    monkeypatch.setattr(loading, "GROUPS", {"pets": (str(pictures), str(other))})
    words = ["run", "few-shot", "--methods", "zero-shot", "--shots", 1, "--seeds", 1, "--backbone", "embedded"]
    code, out, _ = call(*words, "--datasets", "pets", "--out", tmp_path / "grid", "--dry-run")
    assert code == 0
    assert [Path(line.split("  ")[0]).parts[-4] for line in out.splitlines()] == ["pictures0", "others"]
    code, _, err = call(*words, "--datasets", "pictobench-animal", "--out", tmp_path / "grid")
    assert code == 2
    assert "--datasets pictobench-animal" in err and "did you mean 'pictobench-animals'?" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["base-to-new", "--methods", "coop,linear-probe,tip-adapter"],
            "--methods linear-probe, tip-adapter cannot name new classes",
        ),
        (["few-shot", "--methods", "coop[n_ctx=4"], "unclosed bracket or quote in 'coop[n_ctx=4'"),
        (["few-shot", "--methods", "coop", "--shots", "one"], "--shots"),
        (["few-shot", "--methods", ","], "--methods must be one or more names separated by commas, got ','"),
        (
            ["cross-dataset", "--methods", "coop"],
            "needs datasets to test on besides 'pictures0'; pass them as --targets",
        ),
        (["one-shot", "--methods", "coop"], "PROTOCOL must be few-shot, base-to-new, cross-dataset or"),
    ],
)
def test_grid_errors_are_one_line(
    words: list[str], message: str, call: Call, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    code, out, err = call("run", *words, "--datasets", pictures, "--backbone", weights, "--out", tmp_path / "grid")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "grid").exists()


def test_interrupted_grid_continues_with_the_same_command(
    call: Call, pictures: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "few-shot", "--methods", "zero-shot", "--datasets", pictures, "--backbone", weights]
    words += ["--seeds", "1,2", "--shots", 1, "--out", tmp_path / "grid"]

    def second_is_cut(config: RunConfig, *words: Any, **keywords: Any) -> RunRecord:
        if config.seed == 2:
            raise KeyboardInterrupt
        return run_experiment(config, *words, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_experiment", second_is_cut)
        code, out, err = call(*words)
    assert (code, out) == (130, "")
    assert err.endswith(f"interrupted; continue with the same command (--out {tmp_path / 'grid'})\n")
    code, out, err = call(*words)
    assert code == 0
    assert "\n2 cells: 1 finished, 1 to run; " in f"\n{err}"
    assert "2/2" in out
