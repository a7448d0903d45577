import io
import logging
from typing import Any

import pytest
from rich.console import Console

from vlprompt.utils import progress
from vlprompt.utils.progress import Relay, Reporter, in_threads, tracked


def terminal(reporter: Reporter, width: int = 120) -> io.StringIO:
    shown = io.StringIO()
    reporter.console = Console(file=shown, force_terminal=True, width=width, color_system=None)
    return shown


def last_line(shown: io.StringIO) -> str:
    return [line for line in shown.getvalue().splitlines() if "━" in line][-1]


def test_nested_bar_is_shown_below_and_removed() -> None:
    reporter = Reporter()
    shown = terminal(reporter)
    with reporter.bar("cells", clock=False) as cells:
        cells(1, 3, "dapt[beta_text=0]")
        with reporter.bar("train") as train:
            train(2, 8, "epoch 1/4")
            assert reporter._shown is not None
            assert [task.description for task in reporter._shown.tasks] == ["cells", "train"]
        assert [task.description for task in reporter._shown.tasks] == ["cells"]
        cells(3, 3, "dapt[beta_text=0]")
    last = last_line(shown)
    assert "cells" in last
    assert "3/3" in last
    assert "dapt[beta_text=0]" in last
    assert "0:00:00" not in last
    with reporter.bar("train") as train:
        train(1, 1)
    assert "0:00:00" in last_line(shown)


def test_long_note_is_truncated() -> None:
    reporter = Reporter()
    shown = terminal(reporter, width=60)
    with reporter.bar("train") as train:
        train(2, 8, "epoch 1/4  60 images/s  total 2.644  cross entropy 2.578")
    last = last_line(shown)
    assert "train ━" in last
    assert "2/8" in last
    assert "epoch 1/4" in last
    assert last.rstrip().endswith("…")


def test_quiet_reporter_only_warns() -> None:
    reporter = Reporter(quiet=True)
    shown = terminal(reporter)
    with reporter.bar("cells") as cells:
        cells(1, 2)
        reporter.say("done")
        reporter.warn("failed: coop[n_ctx=4]")
    assert shown.getvalue() == "failed: coop[n_ctx=4]\n"


def test_relay_sends_warnings_and_throttled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    clock = iter([10.0, 10.0, 10.1, 10.3, 10.3])
    monkeypatch.setattr("vlprompt.utils.progress.time.monotonic", lambda: next(clock))
    relay = Relay(sent.append)
    relay.say("not this")
    relay.warn("this")
    with relay.bar("train") as bar:
        for step in range(1, 4):
            bar(step, 3, f"step {step}")
    assert sent == [{"warn": "this"}, {"step": ["train", 1, 3, "step 1"]}, {"step": ["train", 3, 3, "step 3"]}]


@pytest.mark.parametrize(("count", "terminal", "bar", "line"), [
    (500, True, False, False), (501, True, True, False), (500, False, False, False), (501, False, False, True),
])  # fmt: skip
def test_tracked_on_and_off_a_terminal(
    count: int, terminal: bool, bar: bool, line: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        progress, "CleanConsole", lambda stderr, markup: Console(file=shown, force_terminal=terminal, width=80)
    )
    with caplog.at_level(logging.INFO, logger="vlprompt"):
        assert list(tracked(range(count), "checking images", count)) == list(range(count))
    assert ("checking images" in shown.getvalue()) == bar
    assert bool(shown.getvalue().strip()) == bar
    assert caplog.messages == ["checking images: 501 files"] * line


def test_in_threads_keeps_the_order_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "CHUNK", 7)
    assert list(in_threads(lambda number: -number, range(30), "counting")) == [-n for n in range(30)]


def test_tracked_nests_below_the_current_bar() -> None:
    reporter = Reporter()
    shown = terminal(reporter)
    with reporter.bar("cells", clock=False) as cells:
        cells(1, 3)
        for number in tracked(range(501), "checking images", 501):
            if number == 400:
                assert reporter._shown is not None
                assert [task.description for task in reporter._shown.tasks] == ["cells", "checking images"]
        assert [task.description for task in reporter._shown.tasks] == ["cells"]
    assert "1/3" in last_line(shown)
