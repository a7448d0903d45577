"""Pictures that are no files yet, written into the cache once."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from vlprompt.errors import VLPromptError
from vlprompt.utils.files import cache_dir
from vlprompt.utils.progress import tracked


def write_once(name: str, what: str, total: int, files: Callable[[], Iterable[tuple[str, bytes]]]) -> Path:
    """The folder of these files, made on first use: complete or not there at all.

    Args:
        name: of the folder in the cache; it must change with what is in the files.
        what: is done, for the progress bar.
        total: number of files.
        files: gives the POSIX path of each file in the folder, and its content. Called only if there is no folder.

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
            if not folder.is_dir():  # else another process was faster
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
    return VLPromptError(f"pictures cannot be kept in the cache ({error}); set VLPROMPT_CACHE")
