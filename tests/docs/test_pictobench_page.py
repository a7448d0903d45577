"""Tables of the page about Pictobench are those of the datasets."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_tables_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools" / "pictures"), *sys.path])
    import pictobench_page

    page = (ROOT / "docs" / "pictobench.md").read_text(encoding="utf-8")
    assert pictobench_page.table() in page
    assert pictobench_page.classes() in page


def test_tables_of_classes_are_those_of_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools" / "pictures"), *sys.path])
    import build_pictobench

    tables = build_pictobench.TABLES
    monkeypatch.setattr(build_pictobench, "TABLES", tmp_path)
    build_pictobench.main()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(written) == 9
    assert written == {name: (tables / name).read_bytes() for name in written}
