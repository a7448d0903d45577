"""The tests that docs/security.md names exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {test for test in named if f"def {test}(" not in sources}
    assert len(named) > 20 and not missing


def test_every_named_file_exists() -> None:
    for file in re.findall(r"`((?:tests|\.github)/[\w./]+)`", PAGE):
        assert (ROOT / file).is_file()
