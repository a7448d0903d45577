"""Finding the files that cannot be read before a run starts, and only once."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlprompt.data.file_facts import remembered
from vlprompt.data.images import ImageError, read_image
from vlprompt.utils.progress import in_threads
from vlprompt.utils.text import printable, visible

logger = logging.getLogger("vlprompt")


def find_unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Which of these files under `root` are no readable pictures, and why.

    Every picture is fully decoded, since a truncated one shows only then. What was found is remembered in the
    cache by path, size and modification time.
    """
    reasons = remembered("checks", root, paths, lambda fresh: _decode_all(root, fresh))
    return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}


def unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The same; each of them is also named in the log."""
    bad = find_unreadable(root, paths)
    for path, reason in bad.items():
        logger.warning("skipping %s: %s", visible(root / path), reason)
    return bad


def _decode_all(root: Path, paths: Sequence[str]) -> Iterator[str]:
    return in_threads(lambda path: _decode(root / path), paths, "checking images")


def _decode(path: Path) -> str:
    if printable(path) != str(path):  # as an archive from another system leaves behind; no record could hold it
        return "its name is not UTF-8"
    try:
        read_image(path)
    except ImageError as error:
        return error.reason
    return ""
