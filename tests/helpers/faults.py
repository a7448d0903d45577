"""Faults while writing files: a killed process or a disk error."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """Stand-in for SIGKILL. Later writes of the same process must not reach the disk."""


class Disk:
    """Counts the file operations in a folder, and fails at one of them.

    A step creates, syncs, renames or removes a file.

    Args:
        patch: monkeypatch that undoes everything.
        folder: folder in which steps can fail.
        at: number of the failing step, from 1; 0 for none.
        error: the error to raise; None for a kill, which leaves half of a file to be synced.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, at: int = 0, error: int | None = None) -> None:
        self.folder, self.at, self.error = folder, at, error
        self.steps: list[str] = []
        self._dead = False
        self._names: dict[int, Path] = {}
        create, sync, rename, remove = Path.open, os.fsync, os.replace, Path.unlink

        def opened(path: Path, mode: str = "r", *args: Any, **words: Any) -> Any:
            if "x" in mode:
                self._step("create", path)
            file = create(path, mode, *args, **words)
            self._names[file.fileno()] = path
            return file

        def synced(handle: int) -> None:
            self._step("sync", self._names[handle], lambda: os.ftruncate(handle, os.fstat(handle).st_size // 2))
            sync(handle)

        def renamed(source: Path, target: Path) -> None:
            self._step("rename", target)
            rename(source, target)

        def removed(path: Path, missing_ok: bool = False) -> None:
            if path.exists():
                self._step("remove", path)
            remove(path, missing_ok)

        patch.setattr(Path, "open", opened)
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", renamed)
        patch.setattr(Path, "unlink", removed)

    def _step(self, what: str, path: Path, tear: Callable[[], None] = lambda: None) -> None:
        if not path.is_relative_to(self.folder):
            return
        if self._dead:
            raise Killed
        self.steps.append(f"{what} {path.name}")
        if len(self.steps) != self.at:
            return
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error), str(path))
        tear()
        self._dead = True
        raise Killed
