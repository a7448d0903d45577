"""Image inputs: files, folders, patterns, a list on stdin, PIL images and arrays."""

import glob
import logging
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlprompt.data.folders import describe, walk
from vlprompt.data.images import ImageError, read_image, to_rgb
from vlprompt.data.value_ranges import ValueRange
from vlprompt.errors import VLPromptError

ImageLike = str | Path | Image.Image | NDArray[Any]

logger = logging.getLogger("vlprompt")

STDIN = "-"
THREADS = 4
# Matches http://, s3:// and data:, but not C:\. A Path keeps only one of two slashes.
URL = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)
EXPECTED = "a path, a PIL image or an array with shape (H, W), (H, W, 3) or (H, W, 4)"


def find_images(arguments: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """Return the image paths that command-line arguments stand for.

    A folder stands for all images below it, but for those that `exclude` leaves out (see `walk`), and a quoted pattern
    (`"**/*.png"`) for its matches, both sorted; `-` stands for the lines of stdin. Any other argument is returned as a
    path, even if the file does not exist: reading it reports the error.

    Raises:
        VLPromptError: a folder, pattern or list has no images.
    """
    paths: list[str] = []
    for argument in arguments:
        if argument == STDIN:
            paths += _not_empty("the list on stdin", filter(None, map(_path, sys.stdin.buffer)))
        elif Path(argument).is_dir():
            folder = Path(argument)
            tree = walk(folder, exclude)
            unread = describe(tree.left_out())
            if unread:
                logger.warning("%s: %s", argument, unread)
            paths += _not_empty(argument, (str(folder / path) for path in tree.paths()))
        elif glob.has_magic(argument) and not Path(argument).exists():
            matches = glob.glob(argument, recursive=True)  # noqa: PTH207 - the pattern may be absolute
            paths += _not_empty(argument, sorted(path for path in matches if Path(path).is_file()))
        else:
            paths.append(argument)
    return paths


def as_image(
    image: ImageLike | BufferedIOBase, *, max_pixels: int | None = None, value_range: ValueRange | None = None
) -> Image.Image:
    """Convert an image to a PIL image in RGB.

    Args:
        image: file path, PIL image, or array with shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8
            values, or of floats from 0 to 1; or a file opened in binary mode.
        max_pixels: limit for image files, see `read_image`.
        value_range: see `read_image`.

    Raises:
        ImageError: the type is not supported, or the image cannot be read.
    """
    match image:
        case str() | Path():
            if URL.match(str(image)):
                raise ImageError("URLs are not fetched; download the file first", str(image))
            return read_image(image, max_pixels=max_pixels, value_range=value_range)
        case BufferedIOBase():
            file = cast("BinaryIO", image)
            return read_image(file, max_pixels=max_pixels, value_range=value_range)
        case Image.Image():
            return to_rgb(image, value_range=value_range)
        case np.ndarray():
            return to_rgb(_from_array(image))
    raise ImageError(f"must be {EXPECTED}, got {type(image).__name__}")


def as_iterable(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Wrap a single image in a list; return several unchanged."""
    # Up to three dimensions are one image: an array with shape (3, H, W) is a mistake, not three gray images.
    array = isinstance(images, np.ndarray) and images.dtype != object and images.ndim <= 3
    single = array or isinstance(images, str | Path | Image.Image)
    if isinstance(images, bytes) or (not single and not isinstance(images, Iterable)):
        raise VLPromptError(f"`images` must be {EXPECTED}, or an iterable of these, got {type(images).__name__}")
    return [images] if single else images  # type: ignore[return-value,list-item]


def read_ahead(
    images: Iterable[ImageLike], read: Callable[[ImageLike], Tensor], batch_size: int
) -> Iterator[list[Tensor | ImageError]]:
    """Yield batches of `read(image)` in order, reading the next batch while the caller processes the current one.

    An unreadable image yields its ImageError.
    """

    def attempt(image: ImageLike) -> Tensor | ImageError:
        try:
            return read(image)
        except ImageError as error:
            return error

    if batch_size < 1:
        raise VLPromptError(f"`batch_size` must be at least 1, got {batch_size}")
    rest, waiting = iter(images), deque[list[Future[Tensor | ImageError]]]()
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := [pool.submit(attempt, image) for image in islice(rest, batch_size)]:
            waiting.append(batch)
            if len(waiting) > 1:
                yield [future.result() for future in waiting.popleft()]
        for batch in waiting:
            yield [future.result() for future in batch]


def _path(line: bytes) -> str:
    """Return the path on a line; spaces are part of it, and it need not be UTF-8."""
    return os.fsdecode(line.rstrip(b"\r\n"))


def _not_empty(argument: str, paths: Iterable[str]) -> list[str]:
    found = list(paths)
    if not found:
        raise VLPromptError(f"`images`: {argument} has no images; give files, folders, patterns, or - for stdin")
    return found


def _has_image_shape(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))


def _from_array(array: NDArray[Any]) -> Image.Image:
    if not _has_image_shape(array) or array.size == 0:
        raise ImageError(f"an array must have shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"a float array must have values from 0 to 1, got {array.min():g} to {array.max():g}; scale it"
            )
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"an array must have dtype uint8, or floats from 0 to 1, got {array.dtype}")
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
