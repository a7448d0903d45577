"""What is known of image files, and kept on disk until a file changes: whether it can be decoded, and its SHA-256.

Both are found out in one pass: a file is read once, then hashed and decoded from memory. The cache holds a JSON file
for each kind of fact and each folder, {path: [bytes, modification time in ns, fact]}.
"""

import hashlib
import io
import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlprompt.data.images import ImageError, read_image
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write, cache_dir
from vlprompt.utils.progress import in_threads
from vlprompt.utils.strings import printable, visible

logger = logging.getLogger("vlprompt")

# Kinds of facts, which are folders in the cache: why a file cannot be decoded ("" if it can), and its hash.
DECODED, HASHED = "checks", "sha256"
# Larger files are decoded from the disk, and hashed only when somebody asks: they may be anything.
LARGE = 1 << 28


def find_unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return which of these files under `root` cannot be read as images, and why.

    Every image is fully decoded, since only that shows that one is truncated. The file's hash is kept, too.
    """
    with _Facts.of(DECODED, root) as decoded, _Facts.of(HASHED, root) as hashed:
        fresh = decoded.unknown(paths)
        for path, (reason, digest) in zip(fresh, _look_at_all(root, fresh), strict=True):
            decoded.keep(path, reason)
            if digest:
                hashed.keep(path, digest, decoded.stamp(path))
        found = {path: decoded.fact(path) for path in paths}
    return {path: reason for path, reason in found.items() if reason}


def unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the same as `find_unreadable`, and log a warning for each file."""
    bad = find_unreadable(root, paths)
    for path, reason in bad.items():
        logger.warning("skipping %s: %s", visible(root / path), reason)
    return bad


def content_hashes(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the SHA-256 (hex) of each of these files under `root`, reading those that are not known.

    Raises:
        ImageError: a file cannot be read.
    """
    with _Facts.of(HASHED, root) as hashed:
        fresh = hashed.unknown(paths)
        for path, digest in zip(fresh, file_hashes(root, fresh), strict=True):
            hashed.keep(path, digest)
        return [hashed.fact(path) for path in paths]


def file_hashes(root: Path, paths: Sequence[str]) -> Iterator[str]:
    """Yield the SHA-256 (hex) of each of these files under `root`, reading all of them now.

    Raises:
        ImageError: a file cannot be read.
    """
    return in_threads(lambda path: _hash(root / path), paths, "hashing images")


class _Facts:
    """Facts of one kind about the files of one folder."""

    def __init__(self, kind: str, root: Path) -> None:
        self._root = root
        self._file = cache_dir() / kind / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.json"
        self._known = _read(self._file)
        self._stamps: dict[str, tuple[int, int]] = {}
        self._changed = False

    @classmethod
    @contextmanager
    def of(cls, kind: str, root: Path) -> Iterator["_Facts"]:
        """Open the facts, and save them at the end: after an interrupt a look at a million images goes on there."""
        facts = cls(kind, root)
        try:
            yield facts
        finally:
            if facts._changed:
                _write(facts._file, facts._known)

    def unknown(self, paths: Sequence[str]) -> list[str]:
        """Return the paths, each once, of which nothing is known since they last changed."""
        return [path for path in dict.fromkeys(paths) if self._known.get(path, (-1, -1, ""))[:2] != self.stamp(path)]

    def keep(self, path: str, fact: str, stamp: tuple[int, int] | None = None) -> None:
        """Keep a fact about the file that had this stamp; by default the one that it had when it was asked for."""
        self._known[path] = (*(stamp or self.stamp(path)), fact)
        self._changed = True

    def fact(self, path: str) -> str:
        """Return what is kept of a file."""
        return self._known[path][2]

    def stamp(self, path: str) -> tuple[int, int]:
        """Return a file's bytes and modification time in ns, as they were when this was first called for it."""
        if path not in self._stamps:
            try:
                found = (self._root / path).stat()
                self._stamps[path] = found.st_size, found.st_mtime_ns
            except (OSError, ValueError):  # no file can have that name
                self._stamps[path] = 0, 0
        return self._stamps[path]


def _look_at_all(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    return in_threads(lambda path: _look_at(root / path), paths, "checking images")


def _look_at(path: Path) -> tuple[str, str]:
    """Return why an image cannot be decoded, "" if it can, and the hash of its file, "" if that is not read here."""
    if printable(path) != str(path):  # as an archive from another system leaves behind; no record could hold it
        return "its name is not UTF-8", ""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= LARGE:
            read_image(path)
            return "", ""
        content = path.read_bytes()
        read_image(io.BytesIO(content))
    except ImageError as error:
        return error.reason, ""
    except (OSError, ValueError):
        return _reason(path), ""
    return "", hashlib.sha256(content).hexdigest()


def _reason(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return error.reason
    return "it changed while it was read"


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        read_image(path)  # its error says what is wrong with the file
        raise


def _write(file: Path, known: dict[str, tuple[int, int, str]]) -> None:
    try:
        atomic_write(file, json.dumps(known))
    except VLPromptError as error:
        logger.debug("facts about images are not kept: %s", error)


def _read(file: Path) -> dict[str, tuple[int, int, str]]:
    try:
        return {
            path: (int(size), int(time), str(fact)) for path, (size, time, fact) in json.loads(file.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, OverflowError):
        return {}
