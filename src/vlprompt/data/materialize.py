"""Materialize generated or packed images in the cache, once."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from vlprompt.errors import VLPromptError
from vlprompt.utils.files import cache_dir
from vlprompt.utils.progress import tracked


def write_once(name: str, what: str, total: int, files: Callable[[], Iterable[tuple[str, bytes]]]) -> Path:
    """Return a cache folder with the given files, written atomically on first use.

    Args:
        name: name of the folder in the cache; must change whenever the files do.
        what: title of the progress bar.
        total: number of files.
        files: called if the folder does not exist; yields the path of each file in it, with slashes, and its content.

    Raises:
        VLPromptError: the cache cannot be written.
    """
    folder = cache_dir() / "pictures" / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{name}-{secrets.token_hex(4)}")
        temporary.mkdir()
    except OSError as error:
        raise _unwritable(error) from error
    try:
        for path, content in tracked(files(), what, total):
            _write(temporary / path, content)
        os.sync()
        try:
            temporary.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # otherwise another process was faster
                raise _unwritable(error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> VLPromptError:
    return VLPromptError(f"images cannot be written to the cache ({error}); set VLPROMPT_CACHE to another folder")
