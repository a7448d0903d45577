import io
import logging

import pytest
from rich.console import Console

from vlprompt.utils import file_progress as progress


@pytest.mark.parametrize(("count", "terminal", "bar", "line"), [
    (500, True, False, False), (501, True, True, False), (500, False, False, False), (501, False, False, True),
])  # fmt: skip
def test_a_bar_on_a_terminal_a_line_elsewhere_and_nothing_for_few(
    count: int, terminal: bool, bar: bool, line: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=shown, force_terminal=terminal, width=80))
    with caplog.at_level(logging.INFO, logger="vlprompt"):
        assert list(progress.tracked(range(count), "checking images", count)) == list(range(count))
    assert ("checking images" in shown.getvalue()) == bar
    assert bool(shown.getvalue().strip()) == bar
    assert caplog.messages == ["checking images: 501 files"] * line


def test_threads_keep_the_order_of_more_items_than_they_are_given_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "CHUNK", 7)
    assert list(progress.in_threads(lambda number: -number, range(30), "counting")) == [-n for n in range(30)]
