import io
import json
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from tests.helpers.command_line import Call
from vlprompt.cli.options import set_up_logging
from vlprompt.utils.clean_output import CleanStream, escape_controls
from vlprompt.utils.progress import Reporter
from vlprompt.utils.terminal import CleanConsole, print_table

CONTROLS = ["\x1b[2J", "\x1b]52;c;aGk=\x07", "\x9b2J", "a\rb", "\b", "\x7f", "\u202eabc", "\u2066", "\u2028", "\x00"]


@pytest.mark.parametrize("text", CONTROLS)
def test_control_characters_are_escaped_everywhere(text: str) -> None:
    raw = io.StringIO()
    stream = CleanStream(raw)
    with redirect_stdout(stream), redirect_stderr(stream):
        print(text)  # noqa: T201
        sys.stdout.writelines([text, "\n"])
        print_table([(text, 1)], ["name", "number"], title=text)
        CleanConsole(stderr=True).print(text)
        reporter = Reporter()
        reporter.say(text)
        reporter.warn(text)
        with reporter.bar(text) as bar:
            bar(1, 2, text)
        logger = logging.getLogger("vlprompt")
        before = logger.handlers, logger.propagate, logger.level
        set_up_logging(quiet=False)
        logger.warning("%s", text)
        logger.handlers, logger.propagate, _ = before
        logger.setLevel(before[2])
    assert raw.getvalue().count("\\u") >= 4  # rich leaves some of them out
    assert not set(raw.getvalue()) & {mark for mark in text if not mark.isprintable()}


def test_other_text_is_unchanged() -> None:
    text = "naïve 猫 👩‍🚒 \t a\u00a0b\n"
    assert escape_controls(text) == text


def test_rich_keeps_its_own_control_sequences() -> None:
    raw = io.StringIO()
    console = CleanConsole()
    console.file, console._force_terminal = raw, True
    console._color_system = None
    console.control()
    console.show_cursor(False)
    console.print("\x1b[2J")
    assert raw.getvalue() == "\x1b[?25l\\u001b[2J\n"


def test_json_stays_json() -> None:
    raw = io.StringIO()
    print(json.dumps("a\x1b\x9b\u202e", ensure_ascii=False), file=CleanStream(raw))
    assert json.loads(raw.getvalue()) == "a\x1b\x9b\u202e"


def test_errors_of_commands(call: Call) -> None:
    code, out, error = call("info", "no\x1b[2Jrun")
    assert code == 2 and "\x1b" not in out + error and "no" in error
