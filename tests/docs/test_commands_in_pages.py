"""Commands in the pages exist and have the options used."""

import re
from pathlib import Path

import pytest

from tests.helpers.command_line import commands, group

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
CODE = re.compile(r"^```(?:bash|sh)\n(.*?)^```$|^((?: {4}[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\s*(?:\$ )?vlprompt ((?:.*\\\n)*.*)$", re.MULTILINE)


def shown(page: Path) -> list[str]:
    """Return the commands in the code of a page, without comments and line breaks."""
    code = "\n".join("".join(parts) for parts in CODE.findall(page.read_text(encoding="utf-8")))
    return [re.sub(r"\s+", " ", re.sub(r"\s#.*|\\\n", " ", command)) for command in COMMAND.findall(code)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_exists(page: Path) -> None:
    known = commands()
    for command in shown(page):
        if command.startswith("--"):
            assert set(command.split()) <= {flag for option in group().params for flag in option.opts}
            continue
        name = next((name for name in known if re.match(rf"{name}\b", command)), None)
        assert name, f"vlprompt {command}"
        flags = {flag for option in known[name].params for flag in (*option.opts, *option.secondary_opts)}
        given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", command))
        assert given <= flags | {"--help"}, f"vlprompt {command}: {sorted(given - flags)}"


def test_pages_show_commands() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 50
