"""docs/design.md points to files and functions that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "vlprompt"
TEXT = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`(?!tests/)([\w/]+\.py)(?:: (\w+))?`", TEXT)))


@pytest.mark.parametrize(("file", "name"), PLACES, ids=[": ".join(filter(None, place)) for place in PLACES])
def test_referenced_files_exist(file: str, name: str) -> None:
    source = (PACKAGE / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^(def|class) {name}\b", source, re.MULTILINE)


def test_every_package_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE))))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= described
