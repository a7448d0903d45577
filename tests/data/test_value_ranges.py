"""One rule for the values of images of more than 8 bits, whatever file holds them."""

import io
import logging
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlprompt.data import value_ranges
from vlprompt.data.images import read_image
from vlprompt.data.value_ranges import to_8_bits

RAMP = (np.add.outer(np.arange(64), np.arange(64)) * 32.5).astype(np.uint16)  # 12 bits
CONTAINERS = ["PNG", "TIFF", "PPM", "JPEG2000"]


@pytest.fixture(autouse=True)
def unreported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(value_ranges, "_reported", False)
    yield


def saved(values: NDArray[np.generic], form: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(values).save(file, form, **options)
    return file


def png16(values: NDArray[np.uint16]) -> io.BytesIO:
    """A 16-bit PNG of one to four channels; Pillow cannot write color ones."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("form", CONTAINERS)
@pytest.mark.parametrize(("bits", "unused"), [(16, 0), (14, 2), (12, 4), (10, 6), (8, 8)])
def test_bits_that_the_values_need(form: str, bits: int, unused: int) -> None:
    full = (RAMP.astype(np.uint32) * 65535 // RAMP.max()).astype(np.uint16)
    read = np.asarray(read_image(saved(full >> unused, form)))
    np.testing.assert_array_equal(read[..., 0], full >> 8)
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_color_tiff(order: str, alpha: bool) -> None:
    values = np.stack([RAMP] * (3 + alpha), axis=-1)
    values[..., 3:] = 65535
    mark, channels = b"II*\0" if order == "<" else b"MM\0*", 3 + alpha
    entries = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, channels, 200), (259, 4, 1, 1), (262, 4, 1, 2)]
    entries += [(273, 4, 1, 256), (277, 4, 1, channels), (278, 4, 1, 64), (279, 4, 1, values.size * 2)]
    entries += [(338, 4, 1, 2)] * alpha
    head = mark + struct.pack(f"{order}LH", 8, len(entries))
    head += b"".join(struct.pack(f"{order}HHLL", *entry) for entry in entries) + bytes(4)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    file = io.BytesIO((head.ljust(200, b"\0") + bits).ljust(256, b"\0") + values.astype(f"{order}u2").tobytes())
    np.testing.assert_array_equal(np.asarray(read_image(file)), np.stack([RAMP >> 4] * 3, axis=-1))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_color_png(channels: int) -> None:
    values = np.stack([RAMP] * channels, axis=-1)
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    read = np.asarray(read_image(png16(values)))
    np.testing.assert_array_equal(read, np.stack([RAMP >> 4] * 3, axis=-1))
    ranged = np.asarray(read_image(png16(values), value_range=(0, 1000)))
    np.testing.assert_array_equal(ranged[..., 0], (RAMP.clip(0, 1000) * (255 / 1000)).round())


def test_integers_and_floats_outside_of_16_bits_are_stretched() -> None:
    for values in (np.array([[-1, 0, 1]], np.int32), np.array([[0, 50_000, 100_000]], np.int32)):
        assert to_8_bits(values, None).tolist() == [[0, 128, 255]]
    assert to_8_bits(np.array([0.0, 0.5, 1.0, np.nan, np.inf][:4], np.float32), None).tolist() == [0, 128, 255, 0]
    assert to_8_bits(np.array([0, 2048, 4095], np.int32), None).tolist() == [0, 128, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_value_range_reads_all_images_alike(form: str) -> None:
    for values in ([[7000, 8000, 9000]], [[7000, 8000, 20_000]], [[0, 8000, 65535]]):
        read = np.asarray(read_image(saved(np.array(values, np.uint16), form), value_range=(7000, 9000)))
        assert read[0, :, 0].tolist() == [0, 128, 255]
    eight = np.array([[0, 7, 255]], np.uint8)
    assert np.asarray(read_image(saved(eight, form), value_range=(0, 7)))[0, :, 0].tolist() == [0, 7, 255]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0, 4095]], "x.tif has values from 0 to 4095 in 16 bits, read as 12 bits; set data.value_range"),
        ([[40_000, 40_900]], "x.tif has values from 40000 to 40900 in 16 bits, read as 16 bits"),
        ([[0, 60_000]], ""),
    ],
)
def test_small_ranges_are_reported_once(values: list[list[int]], said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vlprompt"):
        for _ in range(2):
            to_8_bits(np.array(values, np.uint16), None, "x.tif")
    assert said in caplog.text and len(caplog.records) == bool(said)
