"""Fast-starting command-line processes, so that hundreds of them can be killed.

A nursery is a process that has already imported the command line. For each command it forks a child, which runs
`vlprompt.cli.main.main` like the `vlprompt` script.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class End:
    """Result of a command: exit code (None if killed), duration in seconds, and output."""

    code: int | None
    seconds: float
    said: str


class Nursery:
    """Runs commands in separate processes, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.helpers.nursery import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def run(self, *words: object, cache: Path, log: Path, kill_after: float | None = None) -> End:
        """Run `vlprompt WORDS` and wait for it; send SIGKILL after the given seconds if it is still running."""
        assert self._process.stdin is not None and self._process.stdout is not None
        job = {"words": list(map(str, words)), "cache": str(cache), "log": str(log), "kill_after": kill_after}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()), said=log.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()


def serve() -> None:
    """Serve commands from standard input (runs in the nursery)."""
    import torch

    torch.set_num_threads(1)
    import vlprompt.cli.main
    import vlprompt.experiments.run
    import vlprompt.results.summary  # noqa: F401 - so that no child has to

    for line in sys.stdin:
        job = json.loads(line)
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _run(job)
        code = _wait(child, begun, job["kill_after"])
        sys.stdout.write(json.dumps({"code": code, "seconds": time.monotonic() - begun}) + "\n")
        sys.stdout.flush()


def _run(job: dict[str, Any]) -> None:
    """Run a command with its output in a log (runs in a child)."""
    import vlprompt.cli.main

    code: Any = 1
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["VLPROMPT_CACHE"] = job["cache"]
        sys.argv = ["vlprompt", *job["words"]]
        vlprompt.cli.main.main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.stdout.flush()
        os._exit(code or 0)


def _wait(child: int, begun: float, kill_after: float | None) -> int | None:
    """Return the exit code of a child, or None if it had to be killed."""
    if kill_after is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    while time.monotonic() - begun < kill_after:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGKILL else code
