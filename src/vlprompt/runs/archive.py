"""Find run folders, on disk or in zip archives, and read their records."""

import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TypeAlias, cast

from vlprompt.errors import VLPromptError
from vlprompt.runs.record import RunRecord, parse_record, read_records
from vlprompt.utils.strings import one_line, printable

# Run folder on disk or inside an archive: both have `/`, `name`, `is_file` and `read_bytes`.
RunFolder: TypeAlias = Path | zipfile.Path

# Limits on the declared uncompressed size. For comparison, the committed grid of 324 runs takes 10 MB, its largest file
# 50 kB.
MAX_FILE = 256 * 2**20
MAX_TOTAL = 4 * 2**30
COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Exceptions that `zipfile` raises for damaged, encrypted or unsupported content.
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError)


def find_records(place: Path) -> tuple[list[tuple[RunFolder, RunRecord]], list[str]]:
    """Find all runs in a folder, at any depth and in the zip archives in it, or in one archive.

    Args:
        place: Folder or zip archive.

    Returns:
        Pairs of a run's folder and its record, and one line for each record or archive that cannot be read.

    Raises:
        VLPromptError: `place` does not exist, or is an archive that cannot be read.

    Examples:
        >>> runs, problems = find_records(Path("results"))  # doctest: +SKIP
    """
    if place.is_file():
        return read_archive(place)
    if not place.is_dir():
        raise VLPromptError(f"{place} does not exist; give a folder or zip archive that contains run folders")
    records, problems = read_records(place)
    found: list[tuple[RunFolder, RunRecord]] = [*records.items()]
    for path in sorted(path for path in place.rglob("*.zip") if path.is_file()):
        try:
            zipped, unreadable = read_archive(path)
        except VLPromptError as error:
            problems.append(str(error))
        else:
            found += zipped
            problems += unreadable
    return found, problems


def read_archive(path: Path) -> tuple[list[tuple[RunFolder, RunRecord]], list[str]]:
    """Read the records of all runs in a zip archive of run folders.

    Nothing is unpacked to disk. The whole archive is refused if a file name leaves the archive's root, or if its files
    would unpack to more than `MAX_FILE` each or `MAX_TOTAL` together.

    Args:
        path: Zip archive.

    Returns:
        Pairs of a run's folder and its record, and one line for each record that cannot be read.

    Raises:
        VLPromptError: The file is not a zip archive, is damaged, or is refused.
    """
    try:
        archive = zipfile.ZipFile(path)
        _check(archive)
    except DAMAGED as error:
        reason = "not a zip archive" if isinstance(error, zipfile.BadZipFile) else str(error)
        raise VLPromptError(f"{printable(path)} cannot be read ({reason})") from error
    root = zipfile.Path(archive)
    found: list[tuple[RunFolder, RunRecord]] = []
    problems = []
    for name in sorted(archive.namelist(), key=PurePosixPath):
        if PurePosixPath(name).name != "run.json":
            continue
        file = root.joinpath(name)
        try:
            record = parse_record(file.read_bytes(), str(file))
        except VLPromptError as error:
            problems.append(str(error))
        except DAMAGED as error:
            problems.append(f"{file} cannot be read ({one_line(error)})")
        else:
            found.append((cast(zipfile.Path, file.parent), record))  # typeshed declares `parent` as PathLike
    return found, problems


def _check(archive: zipfile.ZipFile) -> None:
    """Raise ValueError if a name leaves the archive, or if sizes or compression are not those of run folders."""
    total = 0
    for info in archive.infolist():
        name = info.filename
        if name.startswith("/") or ".." in re.split(r"[/\\]", name) or "\\" in name or ":" in name.split("/")[0]:
            raise ValueError(f"file name {name!r:.80} leaves the archive")
        if info.file_size > MAX_FILE:
            raise ValueError(f"{name!r:.80} unpacks to {info.file_size:,} bytes, more than the limit of {MAX_FILE:,}")
        if info.compress_type not in COMPRESSION:
            raise ValueError(f"{name!r:.80} must be stored or deflated, got compression method {info.compress_type}")
        total += info.file_size
    if total > MAX_TOTAL:
        raise ValueError(f"its files unpack to {total:,} bytes, more than the limit of {MAX_TOTAL:,}")
