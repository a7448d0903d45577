"""What was found out about files, kept until a file changes."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write, cache_dir

logger = logging.getLogger("vlprompt")


def remembered(
    kind: str, root: Path, paths: Sequence[str], find_out: Callable[[Sequence[str]], Iterable[str]]
) -> list[str]:
    """What is known of each of these files under `root`, known by path, size and modification time.

    Args:
        kind: of knowledge, a folder in the cache.
        root: the folder.
        paths: of files in it; they need not exist.
        find_out: called with the paths that nothing is known of; gives an answer for each.
    """
    file = cache_dir() / kind / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.json"
    known = _read(file)
    stamps = {path: _stamp(root / path) for path in paths}
    fresh = [path for path, stamp in stamps.items() if known.get(path, (-1, -1, ""))[:2] != stamp]
    try:
        for path, answer in zip(fresh, find_out(fresh), strict=True):
            known[path] = (*stamps[path], answer)
    finally:  # an interrupted look at a million images goes on from here
        if fresh:
            _write(file, known)
    return [known[path][2] for path in paths]


def _write(file: Path, known: dict[str, tuple[int, int, str]]) -> None:
    try:
        atomic_write(file, json.dumps(known))
    except VLPromptError as error:
        logger.debug("what was found out is not kept: %s", error)


def _read(file: Path) -> dict[str, tuple[int, int, str]]:
    """path -> (bytes, modification time in ns, answer)."""
    try:
        return {
            path: (int(size), int(time), str(answer))
            for path, (size, time, answer) in json.loads(file.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, OverflowError):
        return {}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file can be called that
        return 0, 0
    return found.st_size, found.st_mtime_ns
