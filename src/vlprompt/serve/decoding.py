"""Bytes from anywhere, as the image tower takes pictures."""

from io import BytesIO

from PIL import Image
from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.data.images import FORMATS, ImageError, decoded_size, read_image

# Modes whose values are scaled as float64, which takes many times the memory of others.
DEEP = ("I", "F")


def decode(data: bytes | None, classifier: Classifier, most_pixels: int) -> Tensor:
    """Pixels (3, S, S) of a picture's file; None stands for one that was not base64.

    Raises:
        ImageError: it is none, or it or its tile has more pixels than `most_pixels`, of which its header is asked
            before it is decoded; an eighth of them where their values have 32 bits.
    """
    if data is None:
        raise ImageError("not base64")
    if not data:
        raise ImageError("the file is empty")
    (width, height), mode = _header(data)
    most = most_pixels // 8 if mode in DEEP else most_pixels
    if width * height > most:
        raise ImageError(f"{width} x {height} pixels, and the most is {most:,}; send a smaller copy")
    return classifier.pixels(read_image(BytesIO(data)))


def _header(data: bytes) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            return decoded_size(image), image.mode
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("far too many pixels; send a smaller copy") from error
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ImageError("not an image, or of an unknown format") from error
