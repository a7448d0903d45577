"""Call the command line in this process, and list its commands."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import typer.main

from vlprompt.cli.main import app, main

# Maps the arguments of a command to its exit code, stdout and stderr.
Call = Callable[..., tuple[int, str, str]]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Fixture `call`: run a command and return its exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["vlprompt", *map(str, words)])
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def group() -> Any:
    """Return the command that all others belong to."""
    return typer.main.get_command(app)


def commands() -> dict[str, Any]:
    """Return every command by its full name, including commands in groups."""
    found: dict[str, Any] = {}
    for name, command in group().commands.items():
        below = getattr(command, "commands", {})
        found |= {f"{name} {part}": one for part, one in below.items()} if below else {name: command}
    return found
