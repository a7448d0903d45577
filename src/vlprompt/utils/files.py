"""Where vlprompt keeps files, and how it writes them so that no kill leaves half of one."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlprompt.errors import VLPromptError

UNFINISHED = ".tmp"


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (str as UTF-8) to `path`: temporary name beside it, synced, renamed.

    Its permissions are those that the umask leaves.

    Raises:
        VLPromptError: it cannot be written; what was there is still there, and whole.
    """
    with unfinished(path, content):
        pass


@contextmanager
def unfinished(path: str | os.PathLike[str], content: bytes | str) -> Iterator[Path]:
    """As `atomic_write`, with a block between that may read the file under its temporary name, and still stop it."""
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
            raise VLPromptError(f"{target} cannot be written ({reason}); mend that, or write elsewhere") from error
        raise


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed writers of files of these names left in a folder; nobody else may be writing them now."""
    for path in leftovers(folder, names):
        with suppress(OSError):
            path.unlink()


def leftovers(folder: Path, names: Iterable[str]) -> set[Path]:
    """What killed writers of files of these names left in a folder."""
    return {path for name in names for path in folder.glob(f".{name}.*{UNFINISHED}")}


def is_free(folder: Path, *, but: Iterable[Path] = ()) -> bool:
    """Whether nothing is there, or a folder that holds nothing `but` these."""
    return not folder.exists() or (folder.is_dir() and set(folder.iterdir()) <= set(but))


def cache_dir() -> Path:
    """The folder for rendered pictures and frozen features: `VLPROMPT_CACHE`, else `~/.cache/vlprompt`."""
    configured = os.environ.get("VLPROMPT_CACHE")
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vlprompt"


def printable(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and kept, with backslashes for what is not UTF-8 in it."""
    return os.fspath(path).encode(errors="backslashreplace").decode()


def visible(path: str | os.PathLike[str]) -> str:
    """A path in one line for people, with backslashes also for what a terminal would take for a command."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))
