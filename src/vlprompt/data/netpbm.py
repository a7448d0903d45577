"""Read Netpbm images of plain text, or whose largest value is not 255, which take Pillow a microsecond per value."""

import re
from typing import IO

import numpy as np
from numpy.typing import NDArray

# Magic number, then width, height and, but for P1, the largest value; comments may stand between them. One white space
# ends the header.
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_BITS = re.compile(rb"P(1)" + 2 * (_SPACE + rb"(\d{1,10})") + rb"\s")
_VALUES = re.compile(rb"P([2356])" + 3 * (_SPACE + rb"(\d{1,10})") + rb"\s")
# Bytes in which a header must end.
HEADER = 1 << 14
_COMMENT = re.compile(rb"#[^\r\n]*")


def read_netpbm(file: IO[bytes]) -> NDArray[np.uint16]:
    """Read a PBM, PGM or PPM file, P1 to P3 or P5 and P6, as values from 0 to 65535: (H, W) or (H, W, 3).

    Values are scaled from the file's own largest value; one up to 255 becomes the high byte, with 0 below.

    Raises:
        ValueError: the file is damaged, or has too few values.
    """
    file.seek(0)
    head = file.read(HEADER)
    found = _BITS.match(head) or _VALUES.match(head)
    if not found:
        raise ValueError("the header is damaged or too long")
    kind, width, height, *rest = map(int, found.groups())
    most = rest[0] if rest else 1
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = int(np.prod(shape))
    file.seek(found.end())
    if kind == 1:  # digits need no space between them
        digits = np.frombuffer(_COMMENT.sub(b"", file.read()), np.uint8)
        values = 49 - digits[(digits == 48) | (digits == 49)][:count]  # 1 is black
    elif kind < 4:
        values = np.fromstring(_COMMENT.sub(b"", file.read()), np.int64, sep=" ")[:count].clip(0)
    else:
        values = np.frombuffer(file.read(count * (2 if most > 255 else 1)), ">u2" if most > 255 else np.uint8)
    if len(values) < count:
        raise ValueError("image file is truncated")
    top = np.uint32(65535 if most > 255 else 0xFF00)
    step = max(1, 2**22)
    scaled = np.empty(count, np.uint16)
    for start in range(0, count, step):  # in parts, which take no memory to speak of
        part = np.minimum(values[start : start + step].astype(np.uint32), most)
        if most > 255:
            scaled[start : start + step] = (part * top + most // 2) // most
        else:
            scaled[start : start + step] = (part * 255 + most // 2) // most << 8
    return scaled.reshape(shape)
