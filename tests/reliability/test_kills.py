"""Killed runs, and resuming them."""

import random
import sys
from pathlib import Path

import pytest

from tests.helpers.faults import Disk, Killed
from tests.helpers.folders import check, content
from tests.helpers.kills import kill
from tests.helpers.nursery import Nursery
from tests.reliability.conftest import Setting


def test_killed_runs_finish_with_the_same_results(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")  # shown on failure, for `python -m tools.soak --seed`
    with Nursery() as nursery:
        for moment in kill(tmp_path, nursery, "coop", 5, random.Random(seed)):
            sys.stdout.write(f"killed {moment}\n")


def test_kill_between_any_two_steps(setting: Setting, tmp_path: Path) -> None:
    for at, step in enumerate(setting.steps, start=1):
        folder = tmp_path / f"{at}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            Disk(patch, folder, at)
            setting.run_experiment(folder)
        check(folder, setting.images)
        setting.run_experiment(folder)
        assert content(folder) == setting.expected, step


def test_steps_cover_every_file_of_a_run(setting: Setting) -> None:
    written = [step.removeprefix("rename ") for step in setting.steps if step.startswith("rename")]
    epoch = ["prompts.safetensors", "state.safetensors"]
    assert written == ["run.json", "split.jsonl", *epoch, *epoch, "predictions.parquet", "run.json"]
    assert setting.steps[-1] == "remove state.safetensors"
    assert len(setting.steps) == 3 * len(written) + 1
