"""The command-line overview lists every command, and only existing options."""

import re
from pathlib import Path

import pytest

from tests.helpers.command_line import commands

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
OVERVIEW = re.findall(r"^    vlprompt (.+)$", PAGE.read_text(encoding="utf-8").split("\n## ")[0], re.MULTILINE)


def named(line: str) -> str:
    """Return the command of an overview line."""
    return next(name for name in commands() if f"{line} ".startswith(f"{name} "))


def options(line: str) -> set[str]:
    """Return the options in a line or a part of it."""
    return set(re.findall(r"--[a-z-]+", line))


def test_every_command_is_listed_once() -> None:
    assert sorted(map(named, OVERVIEW)) == sorted(commands())


@pytest.mark.parametrize("line", OVERVIEW)
def test_listed_options_exist(line: str) -> None:
    assert options(line) <= {flag for option in commands()[named(line)].params for flag in option.opts}


@pytest.mark.parametrize("line", OVERVIEW)
def test_required_options_have_no_brackets(line: str) -> None:
    required = {one.opts[0] for one in commands()[named(line)].params if one.required and one.opts[0].startswith("--")}
    assert required == options(re.sub(r"\[[^\]]*\]", "", line))
