import os
from pathlib import Path

import pytest

from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write, cache_dir


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    atomic_write(target, "é")
    atomic_write(target, b"\x00")
    assert target.read_bytes() == b"\x00"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    atomic_write(target, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(VLPromptError, match=r"file cannot be written \(disk full\)"):
        atomic_write(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for path in ("folder", ".", ""):
        with pytest.raises(VLPromptError, match=r"cannot be written \("):
            atomic_write(path, "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_the_cache_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    monkeypatch.delenv("VLPROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "vlprompt"
