"""Requests to the service, with good and bad images."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

TOKEN = "a-token-of-the-tests"

# Type of the fixture `serve`.
Serve = Callable[..., TestClient]


def ask(client: TestClient, *files: bytes, **fields: Any) -> Any:
    """Send images as a form."""
    return client.post("/v1/predict", files=[("image", ("a.png", file)) for file in files], data=fields)


def results(client: TestClient, *files: bytes, **fields: Any) -> list[dict[str, Any]]:
    """Send images as a form and return the results."""
    response = ask(client, *files, **fields)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def png(color: tuple[int, int, int], size: tuple[int, int] = (40, 36), form: str = "PNG") -> bytes:
    """Return an image of one color as a file."""
    file = BytesIO()
    Image.new("RGB", size, color).save(file, form)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that would decode to a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiled(width: int, length: int, kind: int = 4) -> bytes:
    """A 64 x 64 TIFF with a tile that claims to be huge; `kind` is the type of the tile's tags."""
    data, about = zlib.compress(bytes(min(width * length, 10**6)), 9), [(256, 4, 64), (257, 4, 64), (258, 4, 8)]
    entries = [*about, (259, 4, 8), (262, 4, 1), (322, kind, width), (323, kind, length), (324, 4, 400)]
    directory, values = b"", b""
    for tag, type_, value in [*entries, (325, 4, len(data))]:
        place = 200 + len(values)
        if type_ == 17:  # 8 bytes, stored out of line
            values += struct.pack("<q", value)
        directory += struct.pack("<HHII", tag, type_, 1, place if type_ == 17 else value)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries) + 1) + directory + bytes(4)
    return (start.ljust(200, b"\0") + values).ljust(400, b"\0") + data


def noisy(side: int = 64) -> bytes:
    """A JPEG long enough to be truncated."""
    file = BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()
