"""Content hashes of image files."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlprompt.data.images import read_image
from vlprompt.data.progress import in_threads
from vlprompt.data.remembered import remembered


def content_hashes(root: Path, paths: Sequence[str]) -> list[str]:
    """The first half of the SHA-256 (hex) of each of these files under `root`. ImageError where one cannot be read.

    They are remembered in the cache by path, size and modification time.
    """
    return remembered("hashes", root, paths, lambda fresh: (found[:32] for found in file_hashes(root, fresh)))


def file_hashes(root: Path, paths: Sequence[str]) -> Iterator[str]:
    """The SHA-256 (hex) of each of these files under `root`, which are read now. ImageError where one cannot be."""
    return in_threads(lambda path: _hash(root / path), paths, "hashing images")


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        read_image(path)  # says what is wrong with it
        raise
