"""Finding the files that cannot be read before a run starts, and only once."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from vlprompt.data.images import ImageError, read_image
from vlprompt.data.progress import tracked
from vlprompt.files import atomic_write, cache_dir

logger = logging.getLogger("vlprompt")

# path -> (bytes, modification time in ns, why it cannot be read or "")
Results = dict[str, tuple[int, int, str]]


def unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Which of these files under `root` are no readable pictures, and why; each is also named in the log.

    Every picture is fully decoded, since a truncated one shows only then. What was found is remembered in the
    cache by path, size and modification time.
    """
    with _remembered(root) as known:
        stamps = {path: _stamp(root / path) for path in paths}
        fresh = [path for path in paths if known.get(path, (-1, -1, ""))[:2] != stamps[path]]
        for path, reason in zip(fresh, _decode_all(root, fresh), strict=True):
            known[path] = (*stamps[path], reason)
        bad = {path: known[path][2] for path in paths if known[path][2]}
    for path, reason in bad.items():
        logger.warning("skipping %s: %s", root / path, reason)
    return bad


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _decode_all(root: Path, paths: Sequence[str]) -> Iterator[str]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from tracked(pool.map(lambda path: _decode(root / path), paths), "checking images", len(paths))


def _decode(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return error.reason
    return ""


@contextmanager
def _remembered(root: Path) -> Iterator[Results]:
    """What earlier checks of this folder found; additions are kept for the next one."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]
    path = cache_dir() / "checks" / f"{name}.json"
    try:
        known = {
            key: (int(size), int(time), str(reason))
            for key, (size, time, reason) in json.loads(path.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}
    before = dict(known)
    yield known
    if known != before:
        try:
            atomic_write(path, json.dumps(known))
        except OSError as error:
            logger.debug("the results of checking images are not kept: %s", error)
