"""Content hashes: of image files, and of the images of a dataset."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vlprompt.data.file_facts import remembered
from vlprompt.data.images import read_image
from vlprompt.utils.progress import in_threads


def content_hashes(root: Path, paths: Sequence[str]) -> list[str]:
    """The SHA-256 (hex) of each of these files under `root`. ImageError where one cannot be read.

    They are remembered in the cache by path, size and modification time.
    """
    return remembered("sha256", root, paths, lambda fresh: file_hashes(root, fresh))


def combined_hash(class_names: Iterable[str], images: Iterable[tuple[str, int, str]]) -> str:
    """SHA-256 (hex) over class names and every (split, label, hash of the image), in their order."""
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(f"class\0{name}\n".encode())
    for split, label, image in images:
        digest.update(f"{split}\0{label}\0{image}\n".encode())
    return digest.hexdigest()


def file_hashes(root: Path, paths: Sequence[str]) -> Iterator[str]:
    """The SHA-256 (hex) of each of these files under `root`, which are read now. ImageError where one cannot be."""
    return in_threads(lambda path: _hash(root / path), paths, "hashing images")


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        read_image(path)  # says what is wrong with it
        raise
