"""Cache of frozen features: immutable files, shared by any number of processes and machines.

A shard is a safetensors file of up to 4,096 entries, `names` (E, 16) uint8 and `features` (E, D), named by the hash of
its bytes. Concurrent writers therefore cannot conflict, damage is detected, and there is no index to go stale. The
shards of one backbone and one transform share a folder. A shard's modification time is the time of its last use.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write, cache_dir
from vlprompt.utils.locks import Lock, holder, lock, try_lock

logger = logging.getLogger("vlprompt")

NAME = 16  # bytes
SHARD = 4096  # entries
DEFAULT_GB = 20.0

Compute = Callable[[Sequence[int]], Iterable[Tensor]]
Progress = Callable[[int, int], None]


def entry_name(about: str) -> bytes:
    """Return the name of an entry: 16 bytes of the hash of `about`, which identifies the entry within its folder."""
    return hashlib.sha256(about.encode()).digest()[:NAME]


def cached(shelf: str, names: Sequence[bytes], compute: Compute, progress: Progress) -> Tensor:
    """Return the features (E, D) of E entries; compute and store those that the cache lacks.

    Processes that request the same entries at the same time compute each of them once.

    Args:
        shelf: text that identifies everything that features depend on besides the entry.
        names: names of the entries, possibly with duplicates.
        compute: yields features (P, D) of the entries at the given P positions, in batches.
        progress: called with (features done, total features) after each batch.
    """
    positions: dict[bytes, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(name, position)
    table = _Collected(positions)
    shards = _Shards(cache_dir() / "features" / _hash(shelf.encode()), _limit())
    table.fill(shards.unread(table.missing))
    distinct = list(positions)
    for begin in range(0, len(distinct), SHARD):
        part = distinct[begin : begin + SHARD]
        if table.missing.isdisjoint(part):
            continue
        with shards.claim(part):
            table.fill(shards.unread(table.missing))  # computed by other processes meanwhile
            left = [name for name in part if name in table.missing]
            batches: list[Tensor] = []
            try:
                for batch in compute([positions[name] for name in left]) if left else ():
                    batches.append(batch)
                    there = len(distinct) - len(table.missing) + sum(map(len, batches))
                    progress(there, len(distinct))
            finally:  # store finished batches, so that an interrupted encoding can resume
                if batches:
                    features = torch.cat(batches)
                    done = left[: len(features)]
                    table.fill([(done, features)])
                    shards.write(done, features)
    shards.evict()
    return table.features(names)


def stored(shelf: str) -> set[bytes]:
    """Return the names of all entries in the cache; `shelf` as in `cached`."""
    names: set[bytes] = set()
    for path in (cache_dir() / "features" / _hash(shelf.encode())).glob("*.safetensors"):
        # An exception: it was evicted meanwhile, or is damaged, which `cached` reports.
        with suppress(Exception), safe_open(path, "pt") as file:
            names.update(_split(file.get_tensor("names")))
    return names


class _Collected:
    """Features of entries, collected from shards and from the encoder."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._rows = {name: row for row, name in enumerate(names)}
        self.missing = set(self._rows)
        self._values: Tensor | None = None  # (distinct entries, D)

    def fill(self, found: Iterable[tuple[list[bytes], Tensor]]) -> None:
        for names, features in found:
            if self._values is None:
                self._values = features.new_empty(len(self._rows), features.shape[1])
            self._values[[self._rows[name] for name in names]] = features
            self.missing.difference_update(names)

    def features(self, names: Sequence[bytes]) -> Tensor:
        assert self._values is not None and not self.missing
        return self._values[[self._rows[name] for name in names]]


class _Shards:
    """Folder of shards."""

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder = folder
        self.limit = limit
        self._read: set[Path] = set()
        self._wrote = False
        self._broken = False

    def unread(self, wanted: set[bytes]) -> Iterator[tuple[list[bytes], Tensor]]:
        """Yield the wanted names and their features from shards written since the last call."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._read):
            self._read.add(path)
            try:
                with safe_open(path, "pt") as file:
                    names = _split(file.get_tensor("names"))
                rows = [row for row, name in enumerate(names) if name in wanted]
                if not rows:
                    continue
                content = path.read_bytes()
                if _hash(content) != path.stem:
                    raise ValueError("checksum mismatch")
                features = load(content)["features"]
            except FileNotFoundError:
                continue  # evicted meanwhile
            except Exception as error:  # a damaged file can make the parser raise anything
                logger.warning("cached features %s are damaged (%s); computing them again", path, error)
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                continue
            with suppress(OSError):
                os.utime(path)
            yield [names[row] for row in rows], features[rows]

    def claim(self, part: Sequence[bytes]) -> Lock:
        """Acquire the lock for computing these entries, waiting until no other process holds it."""
        path = self.folder / f"{_hash(b''.join(part))}.lock"
        held = try_lock(path)
        if held is None:
            logger.info("waiting for %s, which encodes the same images", holder(path))
        return held or lock(path)

    def write(self, names: list[bytes], features: Tensor) -> None:
        """Write a shard. If that fails, warn once and continue without the cache."""
        if self._broken:
            return
        table = torch.frombuffer(bytearray(b"".join(names)), dtype=torch.uint8).view(-1, NAME)
        content = save({"names": table, "features": features})
        path = self.folder / f"{_hash(content)}.safetensors"
        try:
            atomic_write(path, content)
        except VLPromptError as error:
            logger.warning("features are not cached: %s", error)
            self._broken = True
        self._read.add(path)
        self._wrote = True

    def evict(self) -> None:
        """Remove the least recently used shards of all folders until the rest fits, if a shard was written."""
        if not self._wrote:
            return
        files = []
        for path in self.folder.parent.rglob("*.safetensors*"):  # including temporary files of killed writers
            with suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        excess = sum(size for _, size, _ in files) - self.limit
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with suppress(OSError):
                path.unlink()
            excess -= size


def _limit() -> float:
    """Return the maximum size of the cache in bytes."""
    text = os.environ.get("VLPROMPT_CACHE_GB") or str(DEFAULT_GB)
    with suppress(ValueError):
        if (limit := 1e9 * float(text)) >= 0:
            return limit
    raise VLPromptError(f"VLPROMPT_CACHE_GB must be a non-negative number of gigabytes, such as 20, got {text}")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _split(names: Tensor) -> list[bytes]:
    joined = names.numpy().tobytes()
    return [joined[begin : begin + NAME] for begin in range(0, len(joined), NAME)]
