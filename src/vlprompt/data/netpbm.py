"""Read Netpbm images in plain text, or with a maximum other than 255, which take Pillow a microsecond per value."""

import math
import re
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vlprompt.data.decoding_limits import DecodingLimitError

# Magic number, width, height and, except for P1, the largest value, with comments between them; one whitespace
# character ends the header.
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_BITS = re.compile(rb"P(1)" + 2 * (_SPACE + rb"(\d{1,10})") + rb"\s")
_VALUES = re.compile(rb"P([2356])" + 3 * (_SPACE + rb"(\d{1,10})") + rb"\s")
# Bytes in which a header must end.
HEADER = 1 << 14
COMMENTS = 1000
_COMMENT = re.compile(rb"#[^\r\n]*")


def read_netpbm(file: IO[bytes]) -> tuple[NDArray[np.integer], int]:
    """Read a PBM, PGM or PPM file, P1 to P3 or P5 and P6.

    Returns:
        Values (H, W) or (H, W, 3), at most as large as the file's largest value, and that.

    Raises:
        DecodingLimitError: the header is too long, or the text has too many comments.
        ValueError: the file has too few values.
    """
    file.seek(0)
    head = file.read(HEADER)
    found = _BITS.match(head) or _VALUES.match(head)
    if not found:
        raise DecodingLimitError("its header is damaged or too long")
    kind, width, height, *rest = map(int, found.groups())
    most = rest[0] if rest else 1
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = math.prod(shape)
    file.seek(found.end())
    values: NDArray[np.integer]
    if kind == 1:  # digits need no space between them
        digits = np.frombuffer(_without_comments(file.read()), np.uint8)
        values = 49 - digits[(digits == 48) | (digits == 49)][:count]  # 1 is black
    elif kind < 4:
        values = np.fromstring(_without_comments(file.read()), np.int64, sep=" ")[:count].clip(0)
    else:
        values = np.frombuffer(file.read(count * (2 if most > 255 else 1)), ">u2" if most > 255 else np.uint8)
    if len(values) < count:
        raise ValueError("image file is truncated")
    return np.minimum(values, most).astype(np.uint16 if most > 255 else np.uint8).reshape(shape), most


def _without_comments(text: bytes) -> bytes:
    if text.count(b"#") > COMMENTS:
        raise DecodingLimitError(f"it has more than {COMMENTS:,} comments")
    return _COMMENT.sub(b"", text)
