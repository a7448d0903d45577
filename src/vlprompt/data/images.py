"""Any picture people have, as 8-bit RGB."""

import math
import struct
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from vlprompt.errors import VLPromptError

SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .apng .gif .webp .bmp .tif .tiff .ppm .pgm .pbm .jp2 .avif".split())
# Formats with a decoder inside Pillow; others (EPS, say) would start programs on a file from anywhere.
Image.init()
FORMATS = [name for name in "JPEG PNG GIF WEBP BMP TIFF PPM JPEG2000 AVIF".split() if name in Image.OPEN]
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where both sides stay at least this long.
DRAFT_SIDE = 2048
# Of a TIFF: the tags of its tiles' width and length, and the types of number that they may have.
TILE_SIDES, TIFF_NUMBERS = (322, 323), {3: "H", 4: "L"}


class ImageError(VLPromptError):
    """An image that cannot be read; `reason` says why in a few words."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"cannot read image {path}: {reason}" if path else reason)
        self.reason = reason


def read_image(source: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file (or in an open binary one) as an RGB image, upright and fully decoded.

    Transparency is laid on white, the first frame of an animation is taken, EXIF rotation is applied, 16-bit values
    are scaled by their full range (32-bit and float ones by their own minimum and maximum), very large JPEGs are
    decoded at a fraction of their size. Pillow's limit on pixels holds, for a TIFF's tiles, too: 179 million
    (2 * `Image.MAX_IMAGE_PIXELS`).

    Raises ImageError if the file is missing, empty, truncated, too large, or no picture.
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
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ImageError(_reason(error), path) from error


def decoded_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Width and height of what is decoded at a time: of an opened picture, or of its tile if it is a TIFF's larger one.

    Raises what a broken file leads to.
    """
    if image.format != "TIFF" or image.fp is None:
        return image.size
    return max(image.size, _tile_size(image.fp), key=math.prod)


def _tile_size(file: IO[bytes]) -> tuple[int, int]:
    """Width and length of a TIFF's tiles, 0 where it has none.

    Pillow's own tags will not do: it skips those with a type that it does not know, and libtiff decodes by them.
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
                raise ImageError("it is damaged (its tiles have no clear size)")
            (sides[tag],) = struct.unpack_from(order + TIFF_NUMBERS[kind], value)
    width, length = (sides.get(tag, 0) for tag in TILE_SIDES)
    return width, length


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as `read_image` gives it: RGB, upright, on white. ImageError if it cannot be decoded."""
    try:
        image.load()
        return _to_rgb(_upright(image))
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata do not make a broken picture
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
    return f"it is damaged ({' '.join(str(error).split()) or type(error).__name__})"
