"""Read image files of any common format as 8-bit RGB."""

import math
import struct
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

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
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides stay at least this long.
DRAFT_SIDE = 2048
# TIFF tags of a tile's width and length, and the struct formats of their allowed types.
TILE_SIDES, TIFF_NUMBERS = (322, 323), {3: "H", 4: "L"}


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


def read_image(source: str | Path | BinaryIO) -> Image.Image:
    """Read an image file as an RGB image, upright and fully decoded.

    Transparent pixels become white, EXIF rotation is applied, and only the first frame of an animation is read. 16-bit
    values are scaled by their full range, 32-bit and float values by their minimum and maximum. Very large JPEGs are
    decoded at a fraction of their size. Images of more than 179 million pixels (2 * `Image.MAX_IMAGE_PIXELS`) are
    refused, as are TIFFs with tiles of that size.

    Args:
        source: a path, or a file opened in binary mode.

    Returns:
        PIL image with mode "RGB".

    Raises:
        ImageError: the file is missing, empty, truncated, too large, or not an image.

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
        if path and Path(path).stat().st_size == 0:
            raise ImageError("the file is empty", path)
        with Image.open(source, formats=FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS and math.prod(decoded_size(image)) > 2 * Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            return to_rgb(image)
    except ImageError as error:
        raise ImageError(error.reason, path) from error
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ImageError(_reason(error), path) from error


def format_of(path: Path) -> str | None:
    """Return the format of an image file by its first bytes, such as "JPEG"; None if it is no image that is read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format
    except Exception:  # a strange file can make a decoder raise anything
        return None


def decoded_size(image: ImageFile.ImageFile) -> tuple[int, int]:
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


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image to upright RGB on a white background, as `read_image` does.

    Raises:
        ImageError: the image cannot be decoded.
    """
    try:
        image.load()
        return _to_rgb(_upright(image))
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata must not make the pixels unreadable
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64))).convert("RGB")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    values = np.nan_to_num(values)
    low, high = values.min(), values.max()
    scaled: NDArray[np.uint8] = ((values - low) * (255.0 / (high - low or 1.0))).round().astype(np.uint8)
    return scaled


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "it is a folder"
        case PermissionError():
            return "no permission to read it"
        case UnidentifiedImageError():
            return "not an image, or of an unknown format"
        case Image.DecompressionBombError():
            return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        case OSError() if "truncated" in str(error):
            return "the file is truncated"
    return f"it is damaged ({one_line(error)})"
