"""Faults in the middle of writing a file: the death of the process, or an error of the disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """Stands for SIGKILL. What comes after it in the same process must not reach the disk any more."""


class Disk:
    """Counts the steps by which files get into a folder or out of it, and goes wrong at one of them.

    A step is that a file is created, synced, renamed or removed.

    Args:
        patch: undoes it all.
        folder: other folders work as always.
        at: the step that goes wrong, from 1; 0 for none.
        error: what it is then; None for a kill, which leaves half of a file that was to be synced.
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
