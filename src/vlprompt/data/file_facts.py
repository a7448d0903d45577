"""On-disk cache of facts about image files: whether they can be decoded, and their SHA-256.

Facts are invalidated by size or modification time. One pass computes both: a file is read once, then hashed and decoded
from memory. The cache holds one JSON file per kind of fact and folder, {path: [bytes, modification time in ns, fact]}.
"""

import hashlib
import io
import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlprompt.data.images import ImageError, read_image
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write, cache_dir
from vlprompt.utils.progress import in_threads
from vlprompt.utils.strings import printable, visible

logger = logging.getLogger("vlprompt")

# Kinds of facts, each a folder in the cache: why a file cannot be decoded ("" if it can), and its hash.
DECODED, HASHED = "checks", "sha256"
# Larger files (in bytes) are decoded from disk and hashed only on request, to bound memory.
LARGE = 1 << 28
# A JPEG is checked at 1/8 of its size, for which its whole file is read, too.
CHECKED = 1


def find_unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the reason for each file under `root` that cannot be read as an image, by path.

    Every image is fully decoded, since truncation is not detected otherwise. Its hash is cached as well.
    """
    with _Facts.of(DECODED, root) as decoded, _Facts.of(HASHED, root) as hashed:
        fresh = decoded.unknown(paths)
        for path, (reason, digest) in zip(fresh, _inspect_files(root, fresh), strict=True):
            decoded.keep(path, reason)
            if digest:
                hashed.keep(path, digest, decoded.stamp(path))
        found = {path: decoded.fact(path) for path in paths}
    return {path: reason for path, reason in found.items() if reason}


def unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return the result of `find_unreadable`, and log a warning for each file."""
    bad = find_unreadable(root, paths)
    for path, reason in bad.items():
        logger.warning("skipping %s: %s", visible(root / path), reason)
    return bad


def content_hashes(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the SHA-256 (hex) of each file under `root`, reading only files that are not cached.

    Raises:
        ImageError: a file cannot be read.
    """
    with _Facts.of(HASHED, root) as hashed:
        return hashed.hashes(paths)


def first_copies(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the first of `paths` with the same content for each path, itself if no earlier one has.

    Only files that share their size with another one are hashed.

    Raises:
        ImageError: a file cannot be read.
    """
    distinct = list(dict.fromkeys(paths))
    with _Facts.of(HASHED, root) as hashed:
        sizes = Counter(hashed.stamp(path)[0] for path in distinct)
        alike = [path for path in distinct if sizes[hashed.stamp(path)[0]] > 1]
        digests = hashed.hashes(alike)
    first: dict[str, str] = {}
    copies = {path: first.setdefault(digest, path) for path, digest in zip(alike, digests, strict=True)}
    return {path: copies.get(path, path) for path in distinct}


def file_hashes(root: Path, paths: Sequence[str]) -> Iterator[str]:
    """Yield the SHA-256 (hex) of each file under `root`, without the cache.

    Raises:
        ImageError: a file cannot be read.
    """
    return in_threads(lambda path: _hash(root / path), paths, "hashing images")


class _Facts:
    """Facts of one kind about the files in one folder."""

    def __init__(self, kind: str, root: Path) -> None:
        self._root = root
        self._file = cache_dir() / kind / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.json"
        self._known = _read(self._file)
        self._stamps: dict[str, tuple[int, int]] = {}
        self._changed = False

    @classmethod
    @contextmanager
    def of(cls, kind: str, root: Path) -> Iterator["_Facts"]:
        """Open the facts and save them on exit, so that an interrupted check of a million images can resume."""
        facts = cls(kind, root)
        try:
            yield facts
        finally:
            if facts._changed:
                _write(facts._file, facts._known)

    def unknown(self, paths: Sequence[str]) -> list[str]:
        """Return the distinct paths of files that are not cached or have changed."""
        return [path for path in dict.fromkeys(paths) if self._known.get(path, (-1, -1, ""))[:2] != self.stamp(path)]

    def keep(self, path: str, fact: str, stamp: tuple[int, int] | None = None) -> None:
        """Store a fact about a file with this stamp, by default the file's first one."""
        self._known[path] = (*(stamp or self.stamp(path)), fact)
        self._changed = True

    def hashes(self, paths: Sequence[str]) -> list[str]:
        """Return the SHA-256 (hex) of each file, computing and keeping the unknown ones; for facts of kind `HASHED`."""
        fresh = self.unknown(paths)
        for path, digest in zip(fresh, file_hashes(self._root, fresh), strict=True):
            self.keep(path, digest)
        return [self.fact(path) for path in paths]

    def fact(self, path: str) -> str:
        """Return the stored fact about a file."""
        return self._known[path][2]

    def stamp(self, path: str) -> tuple[int, int]:
        """Return the size in bytes and modification time in ns of a file, as of the first call for it."""
        if path not in self._stamps:
            try:
                found = (self._root / path).stat()
                self._stamps[path] = found.st_size, found.st_mtime_ns
            except (OSError, ValueError):  # missing, or not a possible file name
                self._stamps[path] = 0, 0
        return self._stamps[path]


def _inspect_files(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    return in_threads(lambda path: _inspect_file(root / path), paths, "checking images")


def _inspect_file(path: Path) -> tuple[str, str]:
    """Return why an image cannot be decoded ("" if it can), and the hash of its file ("" if not computed)."""
    if printable(path) != str(path):  # from an archive of another system; JSON cannot store it
        return "its name is not UTF-8", ""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= LARGE:
            read_image(path, side=CHECKED)
            return "", ""
        content = path.read_bytes()
        read_image(io.BytesIO(content), side=CHECKED)
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
    return "it changed while being read"


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        read_image(path)  # raises an ImageError that explains the problem
        raise


def _write(file: Path, known: dict[str, tuple[int, int, str]]) -> None:
    try:
        atomic_write(file, json.dumps(known))
    except VLPromptError as error:
        logger.debug("facts about images are not cached: %s", error)


def _read(file: Path) -> dict[str, tuple[int, int, str]]:
    try:
        return {
            path: (int(size), int(time), str(fact)) for path, (size, time, fact) in json.loads(file.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, OverflowError):
        return {}
