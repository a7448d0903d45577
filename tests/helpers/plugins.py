"""Install plug-in packages offline, into a folder visible only to child processes."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"

[project.entry-points."vlprompt.{group}"]
{entry}
"""


def environment(site: Path) -> dict[str, str]:
    """Return an environment in which `pip install` needs no network and writes to `site`, first in Python's path."""
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
        "PIP_TARGET": str(site),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # 0 turns isolation off, which would fetch the build backend
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def install(folder: Path, site: Path, entry: str, code: str, *, group: str = "methods") -> None:
    """Install into `site` a package called like `folder`, with one module of this code and one entry point."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(name=folder.name, group=group, entry=entry))
    (folder / f"{folder.name.replace('-', '_')}.py").write_text(code)
    words = [sys.executable, "-m", "pip", "install", "--quiet", str(folder)]
    done = subprocess.run(words, env=environment(site), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
