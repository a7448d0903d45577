"""Small files that would keep a decoder busy are refused before it begins; ordinary ones of the same kind are read."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from vlprompt.data.decoding_limits import EXIF_SEGMENTS, HEADER_READS, SCANS
from vlprompt.data.images import ImageError, read_image

NOISE = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def encoded(form: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(file, form, **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def after_start(content: bytes) -> bytes:
    """A JPEG with more between its start and its first segment."""
    jpeg = encoded("JPEG")
    return jpeg[:2] + content + jpeg[2:]


def more_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    jpeg = encoded("JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * count + jpeg[-2:]


def chunks(kind: bytes, count: int) -> bytes:
    """A PNG with more chunks before its pixels."""
    png = encoded("PNG")
    chunk = struct.pack(">I", 3) + kind + b"a\0b" + struct.pack(">I", zlib.crc32(kind + b"a\0b"))
    return png[:33] + chunk * count + png[33:]


def gif(block: bytes, count: int) -> bytes:
    content = encoded("GIF", Image.new("P", (8, 8)))
    head = 13 + 3 * (2 << (content[10] & 7))
    return content[:head] + block * count + content[head:]


def boxes(count: int) -> bytes:
    content = encoded("JPEG2000")
    return content[:12] + struct.pack(">L4s", 8, b"free") * count + content[12:]


BOMBS = {
    "scans": (lambda: more_scans(SCANS), f"more than {SCANS} scans"),
    "segments": (lambda: after_start(segment(0xFE, b"") * HEADER_READS), "too many parts"),
    "fill bytes": (lambda: after_start(b"\xff" * 2 * HEADER_READS), "too many parts"),
    "junk": (lambda: after_start(b"\xff\0" * HEADER_READS), "too many parts"),
    "Exif": (lambda: after_start(segment(0xE1, b"Exif\0\0" + bytes(9)) * (EXIF_SEGMENTS + 1)), "Exif segments"),
    "chunks": (lambda: chunks(b"tEXt", HEADER_READS), "too many parts"),
    "GIF comments": (lambda: gif(b"!\xfe\1a\0", HEADER_READS), "too many parts"),
    "GIF extensions": (lambda: gif(b"!\xf9\4\0\0\0\0\0", HEADER_READS), "too many parts"),
    "boxes": (lambda: boxes(HEADER_READS), "too many parts"),
    "tiles": (lambda: encoded("JPEG2000", Image.new("L", (2100, 2100)), tile_size=(64, 64)), "more than 1,024 tiles"),
    "one resolution": (
        lambda: encoded("JPEG2000", Image.new("L", (1400, 1400)), num_resolutions=1),
        "more than 1,789,569 pixels",
    ),
    "Netpbm header": (lambda: b"P3 " + b"#\n" * 20_000 + b"1 1 255 1 2 3", "too many parts"),
    "Netpbm comments": (lambda: b"P3 1 1 255\n" + b"#\n" * 20_000 + b"1 2 3", "more than 1,000 comments"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_work_is_bounded(name: str) -> None:
    make, reason = BOMBS[name]
    content, begun = make(), time.process_time()
    with pytest.raises(ImageError, match=reason):
        read_image(io.BytesIO(content))
    assert time.process_time() - begun < 1


ORDINARY: dict[str, Callable[[], bytes]] = {
    "progressive": lambda: encoded("JPEG", progressive=True),
    "some more scans": lambda: more_scans(SCANS - 20),
    "restarts": lambda: encoded("JPEG", progressive=True, restart_marker_blocks=1),
    "gray, progressive": lambda: encoded("JPEG", Image.fromarray(NOISE[..., 0]), progressive=True),
    "segments": lambda: after_start(segment(0xFE, b"comment") * 300),
    "Exif in parts": lambda: after_start(segment(0xE1, b"Exif\0\0" + bytes(9)) * 3),
    "fill before a marker": lambda: after_start(b"\xff" * 9),
    "chunks": lambda: chunks(b"tEXt", 500),
    "GIF comments": lambda: gif(b"!\xfe\1a\0", 500),
    "tiles": lambda: encoded("JPEG2000", tile_size=(32, 32)),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_read(name: str) -> None:
    content = ORDINARY[name]()
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(read_image(io.BytesIO(content))), expected)


def test_large_jpeg2000_is_decoded_at_a_fraction() -> None:
    image = Image.linear_gradient("L").resize((2400, 1800))
    small = read_image(io.BytesIO(encoded("JPEG2000", image)))
    assert small.size == (600, 450)
    assert np.abs(np.asarray(small)[..., 0].astype(int) - np.asarray(image.resize((600, 450)))).mean() < 2
    assert read_image(io.BytesIO(encoded("JPEG2000", image.resize((700, 700))))).size == (700, 700)


@pytest.mark.parametrize("form", ["JPEG2000", "PNG"])
def test_limit_of_pixels(form: str) -> None:
    content = io.BytesIO(encoded(form))
    assert read_image(content, max_pixels=96 * 96 * 100).size == (96, 96)
    with pytest.raises(ImageError, match="96 x 96 is more than 9,215 pixels"):
        read_image(content, max_pixels=96 * 96 * (100 if form == "JPEG2000" else 1) - 1)


def test_transparency_is_composed_in_bands() -> None:
    values = np.random.default_rng(0).integers(0, 256, (600, 7, 4), dtype=np.uint8)
    image = Image.fromarray(values)
    expected = Image.new("RGBA", image.size, "white")
    expected.alpha_composite(image)
    read = read_image(io.BytesIO(encoded("PNG", image)))
    np.testing.assert_array_equal(np.asarray(read), np.asarray(expected.convert("RGB")))
