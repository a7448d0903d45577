import io
import json
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from shutil import copytree

import pytest

from tests.helpers.command_line import Call
from vlprompt.cli.options import set_up_logging
from vlprompt.utils.clean_output import CleanStream, escape_controls
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import listed
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


FAKE = "x\nerror: all is well"


def test_a_name_cannot_look_like_another_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=False)
    logging.getLogger("vlprompt.test").warning("cannot read %s", FAKE)
    reporter = Reporter()
    reporter.say(FAKE)
    reporter.warn(FAKE)
    print_table([[FAKE]], [FAKE])
    reporter.say(listed([FAKE], quote=False))
    out, err = capsys.readouterr()
    lines = (out + err).splitlines()
    assert not [line for line in lines if line.lstrip("│┃ ").startswith("error")]
    assert sum(r"x\nerror: all is well" in line for line in lines) == 6


def test_a_logged_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=False)
    try:
        raise ValueError("a\x1b[2Jb")
    except ValueError:
        logging.getLogger("vlprompt.test").exception("failed")
    err = capsys.readouterr().err
    assert err.startswith("failed\nTraceback ") and err.count("\n") >= 4


def test_a_file_name_with_a_line_break(call: Call, pictures: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    copytree(pictures, data)
    folder = next(one for one in sorted(data.iterdir()) if one.is_dir())
    image = next(one for one in sorted(folder.iterdir()) if one.is_file())
    (folder / f"{FAKE}.png").write_text("no image")
    (folder / f"{FAKE} too.png").write_bytes(image.read_bytes())
    run = tmp_path / "run"
    for command in (
        ["data", "check", data],
        ["tune", data, "--backbone", "embedded", "--method", "zero-shot", "--out", run],
        ["info", run],
        ["predict", run, folder],
        ["predict", run, folder, "--format", "jsonl"],
        ["predict", run, tmp_path / f"{FAKE}.png"],
        ["info", tmp_path / FAKE],
    ):
        _, out, err = call(*command)
        for line in (out + "\n" + err).splitlines():
            assert not line.startswith("error: all is well"), (command, out, err)
