"""`vlprompt list` and `vlprompt info`: output and errors."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Call


@pytest.mark.usefixtures("without_photos")
def test_list(call: Call) -> None:
    methods = json.loads(call("list", "methods", "--json")[1])
    assert {"coop", "dapt", "zero-shot"} <= {method["name"] for method in methods}
    assert all(option["about"] for method in methods for option in method["options"])
    words = call("list", "methods")[1]
    assert "n_visual = 16" in words
    assert "critic = cosine (cosine, bilinear, mlp)" in words
    datasets = call("list", "datasets")[1]
    assert {"openmoji-line", "pictobench-food", "pictobench-animals-line"} <= set(datasets.split())
    assert "pictobench  group: pictobench-animals, pictobench-food, " in datasets
    assert "dapt/base-to-new" in call("list", "recipes")[1].split()
    backbones = call("list", "backbones")[1]
    assert [line.split()[0] for line in backbones.splitlines()[:3:2]] == ["photos", "embedded"]
    assert "ViT-B-16/openai" in backbones
    assert "coca_ViT-B-32" not in backbones
    assert all(len(line) <= 80 for kind in ("methods", "datasets") for line in call("list", kind)[1].splitlines()[:-1])
    assert "did you mean 'methods'?" in call("list", "Method")[2]


def test_info(call: Call, run: Path) -> None:
    code, out, _ = call("info", run)
    assert code == 0
    assert f"{run}: finished, 2 of 2 epochs" in out
    assert "16 training" in out
    assert all(len(line) <= 80 for line in out.splitlines() if str(run.parent.parent) not in line)  # paths do not wrap
    assert json.loads(call("info", run, "--json")[1])["status"] == "finished"


def test_folders_without_run_json(call: Call, tmp_path: Path) -> None:
    for command in (["evaluate"], ["info"], ["predict"]):
        images = ["x.png"] if command == ["predict"] else []
        code, _, err = call(*command, tmp_path, *images)
        assert code == 2
        assert "is not a run folder: run.json is missing" in err
