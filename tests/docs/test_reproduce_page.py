"""Commands of the reproduction guide are run by a shell, and planned on tiny stand-in data."""

import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.command_line import Call
from tests.helpers.weights import write_weights
from vlprompt.config.schema import DataConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.experiments import plan, task

PAGE = Path(__file__).parents[2] / "docs" / "reproduce.md"


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """Run the page in a shell and return the arguments of every vlprompt call."""
    script = "\n".join(re.findall(r"^    (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    stubs = "pip() { :; }\nvlprompt() { printf '%s\\0' \"$@\"; echo; }\n"
    done = subprocess.run(["bash", "-eu"], input=stubs + script, capture_output=True, text=True, check=True)
    return [line.rstrip("\0").split("\0") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def three_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of towers that are deep enough for every recipe."""
    return write_weights(tmp_path_factory.mktemp("weights") / "three.safetensors", layers=3)


@pytest.mark.slow
def test_every_command_plans_its_cells(
    commands: list[list[str]],
    three_layers: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    call: Call,
) -> None:
    known = load_dataset(pictures)

    def stand_in(data: DataConfig, source: str | None = None) -> Dataset:
        shifted = ("imagenet-v2", "imagenet-r") if data.source == "imagenet" else ()
        return replace(known, name=source or data.source, shifted=shifted)

    for module in (plan, task):
        monkeypatch.setattr(module, "load_pool", stand_in)
    monkeypatch.chdir(tmp_path)
    cells: Counter[str] = Counter()
    for words in commands:
        if words[0] != "run":
            continue
        here = ["--backbone", str(three_layers), "--device", "cpu", "--dry-run"]
        code, out, err = call(*words, *here)
        assert code == 0, f"{words}\n{err}"
        cells.update(Path(line.split()[0]).parts[1] for line in out.splitlines())
    seeds, datasets, methods = 3, 11, 9
    assert cells["base-to-new"] == seeds * datasets * methods
    assert cells["dapt"] == seeds * datasets * 5
    assert cells["mudpt"] == seeds * (datasets * 5 + 2)


def test_other_commands_exist(commands: list[list[str]]) -> None:
    called = Counter(" ".join(words[: 1 + (words[0] == "data")]) for words in commands)
    assert called["data check"] == 11
    assert set(called) == {"data check", "run", "table"}
