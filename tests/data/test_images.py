import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.helpers.client import tiled
from vlprompt.data.images import DRAFT_SIDE, FORMATS, SUFFIXES, ImageError, format_of, full_size, read_image
from vlprompt.errors import VLPromptError


def pixel(path: Path, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = read_image(path)
    assert image.mode == "RGB"
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return tuple(map(int, value))


def write_png16(path: Path, values: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]") -> Path:
    """A 16-bit PNG; Pillow cannot write color ones."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path := tmp_path / "a.jpg", quality=95)
    red, green, blue = pixel(path)
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_scaled_not_clipped(tmp_path: Path, channels: int) -> None:
    values = np.full((4, 4, channels), 65535, dtype=np.uint16)
    colors = channels - (channels in (2, 4))
    values[..., :colors] = 0x4000  # a quarter of the range; clipping at 255 would make it white
    assert pixel(write_png16(tmp_path / "a.png", values)) == (0x40, 0x40, 0x40)


def test_16_bit_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16)).save(path := tmp_path / "a.tif")
    assert pixel(path) == (128, 128, 128)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_deep_tiff_is_stretched_to_its_own_range(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.array([[-1000, 0], [500, 1000]], dtype=kind)).save(path := tmp_path / "a.tif")
    assert pixel(path, 0, 0) == (0, 0, 0)
    assert pixel(path, 1, 1) == (255, 255, 255)
    assert pixel(path, 1, 0) == (128, 128, 128)


def test_float_tiff_with_nan_and_constant_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32)).save(holes := tmp_path / "a.tif")
    assert pixel(holes) == (0, 0, 0)
    Image.fromarray(np.full((2, 2), 7.0, dtype=np.float32)).save(flat := tmp_path / "b.tif")
    assert pixel(flat) == (0, 0, 0)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(path := tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=50)
    red, green, blue = pixel(path)
    assert red > 240 and green < 15 and blue < 15


def test_transparency_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(path := tmp_path / "rgba.png")
    assert pixel(path) == (255, 255, 255)
    Image.new("LA", (4, 4), (0, 128)).save(path := tmp_path / "la.png")
    assert pixel(path)[0] in (127, 128)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.putpixel((3, 3), 0)
    palette.save(path := tmp_path / "p.png", transparency=0)
    assert pixel(path) == (200, 0, 0)
    assert pixel(path, 3, 3) == (255, 255, 255)
    Image.new("RGB", (4, 4), (9, 9, 9)).save(path := tmp_path / "key.png", transparency=(9, 9, 9))
    assert pixel(path) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "LAB"])
def test_other_modes(tmp_path: Path, mode: str) -> None:
    suffix = {"YCbCr": "jpg", "LAB": "tif"}.get(mode, "png")
    Image.new(mode, (4, 4)).save(path := tmp_path / f"a.{suffix}")
    assert read_image(path).mode == "RGB"


def test_exif_rotation(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    image.save(path := tmp_path / "a.jpg", exif=exif)
    assert read_image(path).size == (10, 20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("content", [b"MM\0*" + b"\xff" * 40, b"garbage, not TIFF", b"MM\0*\0\0\0\x08\0\x01"])
def test_broken_exif_is_ignored(tmp_path: Path, content: bytes) -> None:
    Image.new("RGB", (20, 10)).save(path := tmp_path / "a.jpg", exif=b"Exif\0\0" + content)
    assert read_image(path).size == (20, 10)


def test_unparsable_metadata_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def choke(image: Image.Image) -> Image.Image:
        raise struct.error("unpack requires a buffer of 2 bytes")

    monkeypatch.setattr(ImageOps, "exif_transpose", choke)
    Image.new("RGB", (20, 10)).save(path := tmp_path / "a.jpg")
    assert read_image(path).size == (20, 10)


def test_huge_jpeg_is_decoded_at_lower_resolution(tmp_path: Path) -> None:
    Image.new("L", (3 * DRAFT_SIDE, 2 * DRAFT_SIDE)).save(path := tmp_path / "a.jpg")
    assert read_image(path, side=DRAFT_SIDE // 2).size == (0.75 * DRAFT_SIDE, DRAFT_SIDE / 2)
    assert read_image(path).size == (1.5 * DRAFT_SIDE, DRAFT_SIDE)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_full_size_of_an_image_that_was_reduced(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (1203, 802)).save(path := tmp_path / f"a{suffix}", exif=exif)
    image = read_image(path, side=100)
    assert sorted(image.size) == [101, 151]
    assert full_size(image) == ((1203, 802) if orientation == 1 else (802, 1203))
    assert full_size(image.resize((7, 5))) == (7, 5)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (50, 50)).save(path := tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="more than 2,000 pixels"):
        read_image(path)


def test_oversized_tiff_tiles(tmp_path: Path) -> None:
    (small := tmp_path / "small.tif").write_bytes(tiled(512, 512))
    assert read_image(small).size == (64, 64)
    (large := tmp_path / "large.tif").write_bytes(tiled(46_000, 46_000))
    with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
        read_image(large)
    (odd := tmp_path / "odd.tif").write_bytes(tiled(46_000, 46_000, kind=17))
    with pytest.raises(ImageError, match="the size of its tiles is ambiguous"):
        read_image(odd)


REASONS = {
    "half.jpg": "truncated",
    "half.png": "truncated",
    "half.gif": "truncated",
    "half.webp": "damaged",
    "empty.png": "the file is empty",
    "text.jpg": "not an image",
    "folder.png": "it is a folder",
    "script.png": "not an image",
    "damaged.png": "damaged",
    "missing.png": "no such file",
}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder of files that are not images, or damaged ones."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for suffix in ("jpg", "png", "gif", "webp"):
        Image.fromarray(noise).save(whole := tmp_path / f"whole.{suffix}")
        (tmp_path / f"half.{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not an image at all")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    damaged = bytearray((tmp_path / "whole.png").read_bytes())
    damaged[241] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(damaged)
    return tmp_path


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_unreadable_image_raises_image_error_with_a_short_reason(broken: Path, name: str, reason: str) -> None:
    path = broken / name
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert isinstance(caught.value, VLPromptError)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert str(path) not in caught.value.reason
    assert len(caught.value.reason) < 120


def test_read_open_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 6), "red").save(buffer, "png")
    buffer.seek(0)
    assert read_image(buffer).size == (5, 6)
    with pytest.raises(ImageError, match="not an image"):
        read_image(io.BytesIO(b"nothing"))


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_of_a_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 12), (200, 30, 40))
    image = {".pbm": image.convert("1"), ".pgm": image.convert("L"), ".pfm": image.convert("F")}.get(suffix, image)
    image.save(path := tmp_path / f"a{suffix}")
    assert read_image(path).size == (16, 12)
    assert format_of(path) in {*FORMATS, "MPO"}


def test_photographs_of_phones(tmp_path: Path) -> None:
    Image.new("RGB", (16, 12), (200, 30, 40)).save(path := tmp_path / "IMG_0001.HEIC")
    red, green, blue = pixel(path)
    assert red > 180 and green < 50 and blue < 60


def test_format_of_what_is_no_image(tmp_path: Path) -> None:
    for content in (b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0"):
        (tmp_path / "a").write_bytes(content)
        assert format_of(tmp_path / "a") is None
    assert format_of(tmp_path / "missing") is None
