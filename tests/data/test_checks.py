import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlprompt.data import checks
from vlprompt.data.checks import unreadable
from vlprompt.utils.files import cache_dir


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    seen: list[Path] = []
    decode = checks._decode

    def record(path: Path) -> str:
        seen.append(path)
        return decode(path)

    monkeypatch.setattr(checks, "_decode", record)
    return seen


def test_bad_files_are_named_with_their_reasons(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "ant/3.png").write_bytes(b"")
    (tree / "oak/1.png").write_bytes((tree / "oak/2.png").read_bytes()[:40])
    paths = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        bad = unreadable(tree, [*paths, "ant/gone.png"])
    assert list(bad) == ["ant/3.png", "oak/1.png", "ant/gone.png"]
    assert bad["ant/3.png"] == "the file is empty"
    assert bad["ant/gone.png"] == "no such file"
    assert [record.getMessage() for record in caplog.records] == [
        f"skipping {tree / path}: {reason}" for path, reason in bad.items()
    ]


def test_results_are_remembered_until_a_file_changes(tree: Path, decoded: list[Path]) -> None:
    paths = ["ant/0.png", "ant/1.png"]
    assert unreadable(tree, paths) == {}
    assert unreadable(tree, paths) == {}
    assert len(decoded) == 2
    (tree / "ant/1.png").write_bytes(b"broken")
    assert list(unreadable(tree, paths)) == ["ant/1.png"]
    assert len(decoded) == 3
    os.utime(tree / "ant/0.png", (1, 1))
    unreadable(tree, paths)
    assert len(decoded) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"ant/0.png": 3}', "{", "null"])
def test_a_damaged_memory_is_forgotten(tree: Path, decoded: list[Path], content: str) -> None:
    unreadable(tree, ["ant/0.png"])
    for path in (cache_dir() / "checks").glob("*.json"):
        path.write_text(content)
    assert unreadable(tree, ["ant/0.png"]) == {}
    assert len(decoded) == 2


def test_a_cache_that_cannot_be_written_does_not_matter(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "file"))
    assert unreadable(tree, ["ant/0.png"]) == {}


def test_an_interrupted_check_goes_on_where_it_was(
    tree: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))

    def interrupted(root: Path, fresh: list[str]) -> Iterator[str]:
        for path in fresh[:10]:
            yield checks._decode(root / path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checks, "_decode_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unreadable(tree, paths)
    assert unreadable(tree, paths) == {}
    assert sorted(path.relative_to(tree).as_posix() for path in decoded) == paths, "each one once"
