"""Read image files of any common format as 8-bit RGB."""

import ctypes
import math
import struct
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, _imaging

from vlprompt.data.decoding_limits import JPEG2000_COST, CountedFile, DecodingLimitError, check_jpeg, reduction
from vlprompt.data.netpbm import read_netpbm
from vlprompt.data.value_ranges import ValueRange, to_8_bits
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import one_line

# Formats that Pillow or pillow-heif decodes itself, with their suffixes; for others, such as EPS, Pillow would run
# programs on untrusted files. Multi-picture (MPO) files are JPEGs with further frames.
SUFFIXES_OF = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "PNG": ".png .apng",
    "GIF": ".gif",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heics .heif .heifs .hif",
}
with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()
Image.init()
FORMATS = [name for name in SUFFIXES_OF if name in Image.OPEN]
SUFFIXES = frozenset(suffix for name in FORMATS for suffix in SUFFIXES_OF[name].split())
# An image is reduced to 1/2, 1/4, ... of its size if both sides stay at least this long, unless a caller needs less.
DRAFT_SIDE = 2048
# Rows that get a white background at a time, since it takes memory, and Pillow keeps other threads from running.
BAND = 256
# Image modes and raw modes of 16 bits per value that Pillow reads as 8 bits.
DEEP_COLOR = ("LA;16", "RGB;16", "RGBA;16", "RGBX;16")
# Pillow keeps other threads of Python from running while it decodes a JPEG 2000 image, and while it copies one of the
# formats that are decoded as a whole (0.2 s for 49 megapixels). So a large one is decoded alone, or they would add up.
WHOLE, LARGE = ("WEBP", "AVIF", "HEIF"), 16_000_000
_ALONE = Lock()
# TIFF tags of a tile's width and length, and the struct formats of their allowed types.
TILE_SIDES, TIFF_NUMBERS = (322, 323), {3: "H", 4: "L"}

# What Pillow warns of is an ImageError here, or does not matter. The filter is permanent, since threads read images,
# and `warnings.catch_warnings` is not thread-safe. libtiff prints its errors itself, in addition to Pillow's exception.
warnings.filterwarnings("ignore", module=r"PIL\.")
with suppress(OSError, AttributeError):  # on Windows it is a part of Pillow's own library
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


class ImageError(VLPromptError):
    """Error for an image that cannot be read.

    Attributes:
        reason: short reason, such as "no such file".

    Examples:
        >>> try:
        ...     read_image("missing.jpg")
        ... except ImageError as error:
        ...     print(error)
        cannot read image missing.jpg: no such file
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"cannot read image {path}: {reason}" if path else reason)
        self.reason = reason


def read_image(
    source: str | Path | BinaryIO,
    *,
    max_pixels: int | None = None,
    value_range: ValueRange | None = None,
    side: int = DRAFT_SIDE,
) -> Image.Image:
    """Read an image file as an RGB image, upright and fully decoded.

    Transparent pixels become white, EXIF rotation is applied, and only the first frame of an animation is read. Values
    of more than 8 bits are scaled as `data.value_ranges` describes. Images much larger than needed are reduced to 1/2,
    1/4, ... of their size, JPEGs and very large JPEG 2000 images while they are decoded. Images of more than
    `max_pixels` pixels are refused, as are TIFFs with tiles of that size, JPEG 2000 images that even at that fraction
    have more than a 100th of it, and files that would take long to decode for their size, such as JPEGs with more than
    100 scans.

    Args:
        source: a path, or a file opened in binary mode.
        max_pixels: maximum number of pixels; None for 179 million (2 * `Image.MAX_IMAGE_PIXELS`).
        value_range: values of 16-bit, 32-bit and float images that become black and white; None for the rule above.
        side: length in pixels that both sides must keep when an image is reduced.

    Returns:
        PIL image with mode "RGB". `full_size` gives its size before it was reduced.

    Raises:
        ImageError: the file is missing, empty, truncated, too large, too slow to decode, or not an image.

    Examples:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGBA", (4, 3)).save(file, "PNG")
        >>> image = read_image(file)
        >>> image.mode, image.size, image.getpixel((0, 0))
        ('RGB', (4, 3), (255, 255, 255))
    """
    path = str(source) if isinstance(source, str | Path) else ""
    try:
        # Before the file is opened: a named pipe is empty, too, and opening one waits for its writer.
        if path and not Path(path).stat().st_size:
            raise ImageError("the file is empty")
        with Path(source).open("rb") if isinstance(source, str | Path) else nullcontext(source) as opened:
            if not opened.seek(0, 2):
                raise ImageError("the file is empty")
            file = CountedFile(opened)
            check_jpeg(file)
            with Image.open(file, formats=FORMATS) as image:
                whole = image.size
                _bound_pixels(image, file, max_pixels or 2 * (Image.MAX_IMAGE_PIXELS or 0), side)
                file.allow_pixels()
                large = image.format in WHOLE and math.prod(image.size) > LARGE
                with _ALONE if large or image.format == "JPEG2000" else nullcontext():
                    decoded = _decode(image, opened, value_range, path)
        factor = 1
        while min(decoded.size) >= 2 * factor * side:
            factor *= 2
        decoded = decoded.reduce(factor)
        turned = (whole[0] < whole[1]) != (decoded.width < decoded.height)  # by the file's orientation
        # An attribute, since `info` may come from a file, and is copied to images that are made of this one.
        decoded.__dict__["full_size"] = whole[::-1] if turned else whole
        return decoded
    except ImageError as error:
        raise ImageError(error.reason, path) from error
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ImageError(_reason(error), path) from error


def full_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) of an image before `read_image` reduced it; of other images, their size."""
    size: tuple[int, int] = image.__dict__.get("full_size", image.size)
    return size


def format_of(path: Path) -> str | None:
    """Return the format of an image file by its first bytes, such as "JPEG"; None if it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format
    except Exception:  # a strange file can make a decoder raise anything
        return None


def _bound_pixels(image: ImageFile.ImageFile, file: CountedFile, limit: int, side: int) -> None:
    """Refuse an image that is too large, and choose the fraction at which a large one is decoded."""
    width, height = _decoded_size(image)
    pixels = width * height
    if image.format == "JPEG2000":
        power = reduction(image, file)
        image.reduce = power  # type: ignore[assignment,method-assign]
        pixels, limit = pixels >> (2 * power), limit // JPEG2000_COST
    if limit and pixels > limit:
        raise ImageError(f"{width} x {height} is more than {limit:,} pixels; use a smaller copy")
    image.draft(None, (side, side))


def _decode(image: ImageFile.ImageFile, file: IO[bytes], value_range: ValueRange | None, path: str) -> Image.Image:
    decoder, _, _, options = image.tile[0] if image.tile else ("", None, 0, "")
    if decoder in ("ppm", "ppm_plain"):
        values, most = read_netpbm(file)
        if most != 65535:  # the file's own range
            value_range = (0, most) if most < 256 else value_range or (0, most)
        return Image.fromarray(to_8_bits(values, value_range, path)).convert("RGB")
    decoded: Image.Image = image
    raw_mode = options[0] if isinstance(options, tuple) else options
    if str(raw_mode).startswith(DEEP_COLOR):
        image.load()
        decoded = _deep_color(image, file, value_range, path)
    return to_rgb(decoded, value_range=value_range, name=path)


def _decoded_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return the (width, height) that is decoded at once: of the image, or of a TIFF tile if that is larger.

    A damaged file can make it raise any exception.
    """
    if image.format != "TIFF" or image.fp is None:
        return image.size
    return max(image.size, _tile_size(image.fp), key=math.prod)


def _tile_size(file: IO[bytes]) -> tuple[int, int]:
    """Return width and length of a TIFF's tiles, 0 if it has none.

    Parsed here since Pillow skips tags of unknown types, which libtiff still uses for decoding.
    """
    file.seek(0)
    head = file.read(16)
    order, big = "<" if head.startswith(b"II") else ">", 43 in head[2:4]
    (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'L'}", head, 8 if big else 4)
    count, entry = (struct.Struct(order + form) for form in (("Q", "HHQ8s") if big else ("H", "HHL4s")))
    sides: dict[int, int] = {}
    file.seek(offset)
    for _ in range(*count.unpack(file.read(count.size))):
        tag, kind, values, value = entry.unpack(file.read(entry.size))
        if tag in TILE_SIDES:
            if kind not in TIFF_NUMBERS or values != 1 or tag in sides:
                raise ImageError("it is damaged (the size of its tiles is ambiguous)")
            (sides[tag],) = struct.unpack_from(order + TIFF_NUMBERS[kind], value)
    width, length = (sides.get(tag, 0) for tag in TILE_SIDES)
    return width, length


def to_rgb(image: Image.Image, *, value_range: ValueRange | None = None, name: str = "") -> Image.Image:
    """Convert a PIL image to upright RGB on a white background, as `read_image` does.

    Raises:
        ImageError: the image cannot be decoded.
    """
    try:
        image.load()
        return _to_rgb(_upright(image), value_range, name)
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata must not make the pixels unreadable
        return image


def _to_rgb(image: Image.Image, value_range: ValueRange | None, name: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_8_bits(np.asarray(image), value_range, name)).convert("RGB")
    if image.has_transparency_data:
        opaque = Image.new("RGB", image.size)
        for top in range(0, image.height, BAND):
            band = image.crop((0, top, image.width, min(top + BAND, image.height))).convert("RGBA")
            white = Image.new("RGBA", band.size, "white")
            white.alpha_composite(band)
            opaque.paste(white.convert("RGB"), (0, top))
        return opaque
    return image.convert("RGB")


def _deep_color(image: Image.Image, file: IO[bytes], value_range: ValueRange | None, name: str) -> Image.Image:
    """Return a color image with 16 bits per value, of which Pillow decodes the high bytes, mapped to 8 bits."""
    bands = list(image.split())
    count = len(bands) - image.mode.endswith("A")
    if value_range is None and max(int(band.getextrema()[1]) for band in bands[:count]) >= 64:  # type: ignore[arg-type]
        return image  # the values need all 16 bits, of which the upper 8 are kept
    values = np.stack([np.asarray(band) for band in bands[:count]]).astype(np.uint16) << 8
    values |= np.stack([np.asarray(band) for band in _low_bytes(file)[:count]])
    bands[:count] = map(Image.fromarray, to_8_bits(values, value_range, name))
    merged = Image.merge(image.mode, bands)
    merged.info = image.info
    return merged


def _low_bytes(file: IO[bytes]) -> Sequence[Image.Image]:
    """Decode the low bytes of a color image with 16 bits per value, by decoding it in the other byte order."""
    native, other = ("L", "B") if sys.byteorder == "little" else ("B", "L")
    swapped = {native: other, other: native, "N": other}

    def swap(options: Any) -> Any:
        if isinstance(options, tuple):
            return (swap(options[0]), *options[1:])
        return "RGBA" if options == "LA;16B" else options[:-1] + swapped[options[-1]]

    with Image.open(file, formats=FORMATS) as image:
        gray = image.tile[0].args == "LA;16B"  # Pillow repeats the gray value; here the second byte is its low one
        image.tile = [part._replace(args=swap(part.args)) for part in image.tile]
        bands = image.split()
    return (bands[1],) * 3 if gray else bands


def _reason(error: Exception) -> str:
    match error:
        case DecodingLimitError():
            return str(error)
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "it is a folder"
        case PermissionError():
            return "no permission to read it"
        case UnidentifiedImageError():
            return "not an image, or of an unknown format"
        case Image.DecompressionBombError():
            return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; use a smaller copy"
        case OSError() if "truncated" in str(error):
            return "the file is truncated"
    return f"it is damaged ({one_line(error)})"
