"""Where vlprompt keeps files, and how it writes them so that no kill leaves half of one."""

import os
import tempfile
from pathlib import Path


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (str as UTF-8) to `path`: temporary name beside it, synced, renamed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cache_dir() -> Path:
    """The folder for rendered pictures and frozen features: `VLPROMPT_CACHE`, else `~/.cache/vlprompt`."""
    configured = os.environ.get("VLPROMPT_CACHE")
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vlprompt"
