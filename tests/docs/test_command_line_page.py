"""The overview of the command line names every command, and no option that is not there."""

import re
from pathlib import Path

import pytest

from tests.helpers.command_line import commands

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
OVERVIEW = re.findall(r"^    vlprompt (.+)$", PAGE.read_text(encoding="utf-8").split("\n## ")[0], re.MULTILINE)


def named(line: str) -> str:
    """The command that a line of the overview is about."""
    return next(name for name in commands() if f"{line} ".startswith(f"{name} "))


def options(line: str) -> set[str]:
    """Those that a line, or a part of one, names."""
    return set(re.findall(r"--[a-z-]+", line))


def test_every_command_is_there_once() -> None:
    assert sorted(map(named, OVERVIEW)) == sorted(commands())


@pytest.mark.parametrize("line", OVERVIEW)
def test_every_option_is_one_of_the_command(line: str) -> None:
    assert options(line) <= {flag for option in commands()[named(line)].params for flag in option.opts}


@pytest.mark.parametrize("line", OVERVIEW)
def test_every_required_option_is_named_without_brackets(line: str) -> None:
    required = {one.opts[0] for one in commands()[named(line)].params if one.required and one.opts[0].startswith("--")}
    assert required == options(re.sub(r"\[[^\]]*\]", "", line))
