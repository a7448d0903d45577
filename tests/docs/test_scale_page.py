"""The documented batch script is valid bash and uses existing options."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from vlprompt.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()


@pytest.fixture
def script() -> str:
    (found,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert "#SBATCH" in found
    return str(found)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_script_is_valid_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_script_options_exist(script: str) -> None:
    command = script[script.index("vlprompt run") :]
    options = {name for parameter in get_command(app).commands["run"].params for name in parameter.opts}  # type: ignore[attr-defined]
    given = set(re.findall(r"--[a-z-]+", command))
    assert {"--engine", "--address", "--cpus-per-cell", "--gpus-per-cell"} <= given <= options
