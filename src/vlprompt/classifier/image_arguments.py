"""Which pictures a command line means: files, folders, patterns, and lists on stdin."""

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlprompt.data.readers.folder import image_paths
from vlprompt.errors import VLPromptError

STDIN = "-"


def find_pictures(words: Sequence[str]) -> list[str]:
    """Paths, in the order of the words, those of a folder or pattern sorted.

    A folder stands for all images below it, a pattern that the shell left alone (`"**/*.png"`) for what it matches, and
    `-` for the lines of stdin. A path that is not there stays, for whoever reads it to say so.

    Raises:
        VLPromptError: a folder or a pattern without images.
    """
    found: list[str] = []
    for word in words:
        if word == STDIN:
            found += _some("the list on stdin", filter(None, map(_path, sys.stdin.buffer)))
        elif Path(word).is_dir():
            found += _some(word, (str(Path(word) / path) for path in image_paths(Path(word), Path(word))))
        elif glob.has_magic(word) and not Path(word).exists():
            matches = glob.glob(word, recursive=True)  # noqa: PTH207 - the pattern may be absolute
            found += _some(word, sorted(path for path in matches if Path(path).is_file()))
        else:
            found.append(word)
    return found


def _path(line: bytes) -> str:
    """The path on a line of a list. Blanks are part of it, and it need not be UTF-8."""
    return os.fsdecode(line.rstrip(b"\r\n"))


def _some(word: str, paths: Iterable[str]) -> list[str]:
    found = list(paths)
    if not found:
        raise VLPromptError(f"{word} has no images; give files, folders, patterns, or - for a list on stdin")
    return found
