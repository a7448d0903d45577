"""The command line, called in this process."""

import signal
from collections.abc import Callable

import pytest

from vlprompt.cli.main import main

# Words of a command to its exit code, stdout and stderr.
Call = Callable[..., tuple[int, str, str]]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """What the fixture `call` is."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["vlprompt", *map(str, words)])
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as stop:
            main()
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run
