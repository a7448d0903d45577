import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlprompt.data import file_facts
from vlprompt.data.file_facts import content_hashes, find_unreadable, unreadable
from vlprompt.data.images import ImageError
from vlprompt.utils.files import cache_dir


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were decoded."""
    seen: list[Path] = []
    look_at = file_facts._inspect_file

    def record(path: Path) -> tuple[str, str]:
        seen.append(path)
        return look_at(path)

    monkeypatch.setattr(file_facts, "_inspect_file", record)
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read only for their hash."""
    seen: list[Path] = []
    hash_ = file_facts._hash

    def record(path: Path) -> str:
        seen.append(path)
        return hash_(path)

    monkeypatch.setattr(file_facts, "_hash", record)
    return seen


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_unreadable_files_are_reported_with_reasons(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "ant/3.png").write_bytes(b"")
    (tree / "oak/1.png").write_bytes((tree / "oak/2.png").read_bytes()[:40])
    (tree / "oak/folder.png").mkdir()
    paths = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        bad = unreadable(tree, [*paths, "ant/gone.png", "a\0b"])
    assert list(bad) == ["ant/3.png", "oak/1.png", "oak/folder.png", "ant/gone.png", "a\0b"]
    assert bad["ant/3.png"] == "the file is empty"
    assert bad["oak/folder.png"] == "it is a folder"
    assert bad["ant/gone.png"] == "no such file"
    assert [record.getMessage() for record in caplog.records][:4] == [
        f"skipping {tree / path}: {reason}" for path, reason in list(bad.items())[:4]
    ]


def test_facts_are_cached_until_a_file_changes(tree: Path, looked_at: list[Path]) -> None:
    paths = ["ant/0.png", "ant/1.png"]
    assert unreadable(tree, paths) == {}
    assert unreadable(tree, paths) == {}
    assert len(looked_at) == 2
    (tree / "ant/1.png").write_bytes(b"broken")
    assert list(unreadable(tree, paths)) == ["ant/1.png"]
    assert len(looked_at) == 3
    os.utime(tree / "ant/0.png", (1, 1))
    unreadable(tree, paths)
    assert len(looked_at) == 4


def test_hashes_are_cached_until_a_file_changes(tree: Path, hashed: list[Path]) -> None:
    first = content_hashes(tree, ["ant/0.png", "oak/0.png", "ant/0.png"])
    assert first[0] == first[2] == sha256(tree / "ant/0.png")
    assert content_hashes(tree, ["oak/0.png"]) == first[1:2]
    assert len(hashed) == 2
    (tree / "oak/0.png").write_bytes(b"another")
    os.utime(tree / "ant/0.png", (1, 1))
    assert content_hashes(tree, ["ant/0.png", "oak/0.png"]) == [first[0], hashlib.sha256(b"another").hexdigest()]
    assert len(hashed) == 4


def test_one_pass_decodes_and_hashes(tree: Path, hashed: list[Path]) -> None:
    (tree / "ant/1.png").write_bytes(b"broken")
    assert list(find_unreadable(tree, ["ant/0.png", "ant/1.png"])) == ["ant/1.png"]
    assert content_hashes(tree, ["ant/0.png"]) == [sha256(tree / "ant/0.png")]
    assert hashed == []
    assert content_hashes(tree, ["ant/1.png"]) == [sha256(tree / "ant/1.png")], "only of readable images"


def test_large_files_are_hashed_on_request(tree: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_facts, "LARGE", 10)
    assert find_unreadable(tree, ["ant/0.png"]) == {}
    assert content_hashes(tree, ["ant/0.png"]) == [sha256(tree / "ant/0.png")]
    assert hashed == [tree / "ant/0.png"]


def test_unreadable_file_cannot_be_hashed(tree: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.png: no such file"):
        content_hashes(tree, ["ant/0.png", "ant/gone.png"])


@pytest.mark.parametrize("content", ["", "[]", '{"ant/0.png": 3}', "{", "null"])
def test_damaged_cache_is_ignored(tree: Path, looked_at: list[Path], content: str) -> None:
    unreadable(tree, ["ant/0.png"])
    for path in (cache_dir() / "checks").glob("*.json"):
        path.write_text(content)
    assert unreadable(tree, ["ant/0.png"]) == {}
    assert len(looked_at) == 2


def test_unwritable_cache_is_ignored(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "file"))
    assert unreadable(tree, ["ant/0.png"]) == {}
    assert content_hashes(tree, ["ant/0.png"]) == [sha256(tree / "ant/0.png")]


def test_interrupted_check_resumes(tree: Path, looked_at: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))

    def interrupted(root: Path, fresh: list[str]) -> Iterator[tuple[str, str]]:
        for path in fresh[:10]:
            yield file_facts._inspect_file(root / path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "_inspect_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unreadable(tree, paths)
    assert unreadable(tree, paths) == {}
    assert sorted(path.relative_to(tree).as_posix() for path in looked_at) == paths, "each one once"
