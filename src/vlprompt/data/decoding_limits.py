"""Limit the time that decoding an image can take, from its headers and before decoding begins.

In some formats the number of pixels does not limit it: a file can have any number of parts that Pillow reads one by
one, a progressive JPEG any number of scans, and JPEG 2000 takes many times longer than other formats and keeps other
threads of Python from running.
"""

import math
import re
import struct
from collections.abc import Iterator
from typing import IO, Any

from PIL import ImageFile

from vlprompt.errors import VLPromptError

# Reads of parts of a file (segments, chunks, blocks, tags), a few for each part. Photographs need some hundreds until
# their pixels begin; for the pixels, one read per this many bytes is allowed.
HEADER_READS, BYTES_PER_READ = 10_000, 500
# Encoders write about 10 scans. Each is a pass over the whole image, however small it is.
SCANS = 100
# Pillow joins Exif segments one by one. Standard files have one.
EXIF_SEGMENTS = 64
# Seconds per pixel of JPEG 2000 relative to those of other formats (0.5 us for noise on a 2-core build machine). Larger
# images are decoded at 1/2, 1/4, ... of their size, as far as they have resolution levels. Each tile takes time, too.
JPEG2000_COST, JPEG2000_PIXELS, JPEG2000_TILES = 100, 500_000, 1024

# The next marker in the entropy-coded data of a JPEG that is neither a stuffed byte, nor a restart, nor fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class DecodingLimitError(VLPromptError):
    """Error for an image that would take too long to decode."""


class CountedFile:
    """Binary file that behaves like `file`, but raises DecodingLimitError after too many reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, HEADER_READS

    def read(self, size: int = -1) -> bytes:
        """Read like `file`."""
        self._left -= 1
        if self._left < 0:
            raise DecodingLimitError("it has too many parts to be an image")
        return self._file.read(size)

    def allow_pixels(self) -> None:
        """Allow the reads for the pixels, after those for the headers."""
        place = self._file.tell()
        self._left = HEADER_READS + self._file.seek(0, 2) // BYTES_PER_READ
        self._file.seek(place)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def check_jpeg(file: CountedFile) -> None:
    """Raise DecodingLimitError if a file is a JPEG with too many scans or segments; ignore damaged files."""
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return
    components, progressive, exif = 0, False, 0
    while (marker := _next_marker(file)) is not None:
        head = file.read(2)
        length = int.from_bytes(head) - 2
        if marker == 0xDA:
            in_scan = file.read(1)
            # Otherwise the decoder stops after this scan.
            if progressive or in_scan != bytes([components]):
                _count_scans(file.read())
            return
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
            frame = file.read(length)
            progressive, components = marker in (0xC2, 0xCA), frame[5] if len(frame) > 5 else 0
        elif marker == 0xE1 and length > 4:
            exif += file.read(4) == b"Exif"
            if exif > EXIF_SEGMENTS:
                raise DecodingLimitError(f"it has more than {EXIF_SEGMENTS} Exif segments")
            file.seek(length - 4, 1)
        elif length > 0:
            file.seek(length, 1)


def _next_marker(file: CountedFile) -> int | None:
    """Return the next marker that begins a segment, skipping fill and junk as Pillow does; None at the end."""
    before = b""
    while byte := file.read(1):
        if before == b"\xff" and byte not in b"\x00\xff" and not 0xD0 <= byte[0] <= 0xD9:
            return byte[0]
        before = byte
    return None


def _count_scans(content: bytes) -> None:
    scans, place = 1, 0
    while found := _MARKER.search(content, place):
        marker, place = content[found.start() + 1], found.end()
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > SCANS:
            raise DecodingLimitError(f"it has more than {SCANS} scans")
        place += int.from_bytes(content[place : place + 2])


def reduction(image: ImageFile.ImageFile, file: CountedFile) -> int:
    """Return the power of 2 by which a JPEG 2000 image is decoded smaller.

    Raises:
        DecodingLimitError: it has too many tiles.
    """
    power = 0
    for marker, body in _codestream_header(file):
        if marker == 0xFF51:
            width, height, left, top, tile_width, tile_height = struct.unpack_from(">6L", body, 2)
            tiles = -(-(width - left) // max(1, tile_width)) * -(-(height - top) // max(1, tile_height))
            if tiles > JPEG2000_TILES:
                raise DecodingLimitError(f"it has more than {JPEG2000_TILES:,} tiles")
        elif marker == 0xFF52:
            levels = body[5]
            while power < levels and math.prod(image.size) >> (2 * power) > JPEG2000_PIXELS:
                power += 1
    return power


def _codestream_header(file: CountedFile) -> Iterator[tuple[int, bytes]]:
    """Yield the markers of a JPEG 2000 codestream's main header, with their bodies."""
    file.seek(0)
    start = file.read(2)
    while start != b"\xff\x4f":  # boxes; the codestream is one of them
        length, kind = struct.unpack(">L4s", start + file.read(6))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            length -= 8
        if kind != b"jp2c":
            if length < 8:
                return
            file.seek(length - 8, 1)
        start = file.read(2)
        if len(start) < 2:
            return
    while len(head := file.read(4)) == 4:
        marker, length = struct.unpack(">HH", head)
        if marker == 0xFF90 or length < 2:  # the first tile
            return
        yield marker, file.read(length - 2)
