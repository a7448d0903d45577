"""Any picture people have, as 8-bit RGB."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vlprompt.errors import VLPromptError

SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .apng .gif .webp .bmp .tif .tiff .ppm .pgm .pbm .jp2 .avif".split())
# Formats with a decoder inside Pillow; others (EPS, say) would start programs on a file from anywhere.
Image.init()
FORMATS = [name for name in "JPEG PNG GIF WEBP BMP TIFF PPM JPEG2000 AVIF".split() if name in Image.OPEN]
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where both sides stay at least this long.
DRAFT_SIDE = 2048


class ImageError(VLPromptError):
    """An image that cannot be read; `reason` says why in a few words."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"cannot read image {path}: {reason}" if path else reason)
        self.reason = reason


def read_image(source: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file (or in an open binary one) as an RGB image, upright and fully decoded.

    Transparency is laid on white, the first frame of an animation is taken, EXIF rotation is applied, 16-bit values
    are scaled by their full range (32-bit and float ones by their own minimum and maximum), very large JPEGs are
    decoded at a fraction of their size. Pillow's limit on pixels holds: 179 million (2 * `Image.MAX_IMAGE_PIXELS`).

    Raises ImageError if the file is missing, empty, truncated, too large, or no picture.
    """
    path = str(source) if isinstance(source, str | Path) else ""
    try:
        if path and Path(path).stat().st_size == 0:
            raise ImageError("the file is empty", path)
        with Image.open(source, formats=FORMATS) as image:
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            return to_rgb(image)
    except ImageError as error:
        raise ImageError(error.reason, path) from error
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ImageError(_reason(error), path) from error


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
