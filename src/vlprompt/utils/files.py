"""Atomic file writes, and the cache folder."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlprompt.errors import VLPromptError

UNFINISHED = ".tmp"


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (str as UTF-8) to `path` atomically, even if the process is killed.

    The file is written under a temporary name next to `path`, synced and renamed. Its permissions follow the umask.

    Raises:
        VLPromptError: the file cannot be written; an existing file is left unchanged.
    """
    with unfinished(path, content):
        pass


@contextmanager
def unfinished(path: str | os.PathLike[str], content: bytes | str) -> Iterator[Path]:
    """Write a file like `atomic_write`, but yield the temporary path and rename it only after the block.

    An exception from the block removes the temporary file and leaves `path` unchanged.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}{UNFINISHED}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise VLPromptError(f"{target} cannot be written ({reason}); fix this or choose another path") from error
        raise


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that `leftovers` returns. No other process may be writing these files."""
    for path in leftovers(folder, names):
        with suppress(OSError):
            path.unlink()


def leftovers(folder: Path, names: Iterable[str]) -> set[Path]:
    """Return the temporary files that killed writers of the files `names` left in a folder."""
    return {path for name in names for path in folder.glob(f".{name}.*{UNFINISHED}")}


def is_free(folder: Path, *, but: Iterable[Path] = ()) -> bool:
    """Return whether `folder` does not exist, or is a folder that contains nothing except `but`."""
    return not folder.exists() or (folder.is_dir() and set(folder.iterdir()) <= set(but))


def cache_dir() -> Path:
    """Return the cache folder: `VLPROMPT_CACHE`, else `XDG_CACHE_HOME`/vlprompt, else `~/.cache/vlprompt`."""
    configured = os.environ.get("VLPROMPT_CACHE")
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vlprompt"
