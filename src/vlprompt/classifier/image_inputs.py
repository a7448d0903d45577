"""Image inputs: files, folders, patterns, a list on stdin, open files, bytes, PIL images and arrays."""

import glob
import inspect
import io
import logging
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlprompt.data.folder_tree import describe, walk
from vlprompt.data.images import DRAFT_SIDE, ImageError, read_image, to_rgb
from vlprompt.data.value_ranges import ValueRange
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed, one_line

ImageLike = str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any]

logger = logging.getLogger("vlprompt")

STDIN = "-"
THREADS = 4
# Matches http://, s3:// and data:, but not C:\. A Path keeps only one of two slashes.
URL = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)
EXPECTED = "a path, an open file, bytes, a PIL image or an array with shape (H, W), (H, W, 3) or (H, W, 4)"


def find_images(arguments: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """Return the image paths that command-line arguments stand for.

    A folder stands for all images below it except those that `exclude` leaves out (see `walk`), and a quoted pattern
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
    image: ImageLike, *, max_pixels: int | None = None, value_range: ValueRange | None = None, side: int = DRAFT_SIDE
) -> Image.Image:
    """Convert an image to a PIL image in RGB.

    Args:
        image: file path, open binary file (such as an upload), content of a file, PIL image, or array with shape
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 values, or of floats from 0 to 1.
        max_pixels: limit for image files, see `read_image`.
        value_range, side: see `read_image`.

    Raises:
        ImageError: the type is not supported, or the image cannot be read.
    """
    match image:
        case str() | Path():
            if URL.match(str(image)):
                raise ImageError("URLs are not fetched; download the file first", str(image))
            return read_image(image, max_pixels=max_pixels, value_range=value_range, side=side)
        case bytes() | bytearray() | memoryview():
            return read_image(io.BytesIO(image), max_pixels=max_pixels, value_range=value_range, side=side)
        case Image.Image():
            return to_rgb(image, value_range=value_range)
        case np.ndarray():
            return to_rgb(_from_array(image))
    if hasattr(image, "read"):
        return read_image(_opened(image), max_pixels=max_pixels, value_range=value_range, side=side)
    raise ImageError(f"must be {EXPECTED}, got {type(image).__name__}")


def as_iterable(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Wrap a single image in a list; return several unchanged, or the only column of a data frame."""
    # Up to three dimensions are one image: an array with shape (3, H, W) is a mistake, not three gray images.
    array = isinstance(images, np.ndarray) and images.dtype.kind not in "OUST" and images.ndim <= 3
    if array or is_single(images):
        return [images]  # type: ignore[list-item]
    if not isinstance(images, Iterable) or isinstance(images, Mapping):
        raise VLPromptError(f"`images` must be {EXPECTED}, or an iterable of these, got {type(images).__name__}")
    column: Iterable[ImageLike] = column_of(images, "images")
    return column


def is_single(images: object) -> bool:
    """Return whether an object other than an array is a single image."""
    return isinstance(images, str | Path | bytes | bytearray | memoryview | Image.Image) or hasattr(images, "read")


def column_of(images: Any, parameter: str) -> Any:
    """Return the values of a data frame or array with one column, and anything else unchanged.

    Raises:
        VLPromptError: there are several columns.
    """
    if isinstance(images, np.ndarray):
        return images[:, 0] if images.dtype.kind in "OUST" and images.ndim == 2 and images.shape[1] == 1 else images
    names: list[Any] = list(getattr(images, "column_names", getattr(images, "columns", ())))
    if len(names) > 1:
        raise VLPromptError(f"`{parameter}` must be one column of images, got {listed(names)}; pass one of these")
    return list(images[names[0]]) if names else images


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


def _opened(file: Any) -> BinaryIO:
    """Return an open file at its beginning, or that of an upload that a web framework wraps."""
    if inspect.iscoroutinefunction(file.read):  # FastAPI's UploadFile
        file = getattr(file, "file", file)
    if isinstance(file, io.TextIOBase) or inspect.iscoroutinefunction(file.read):
        raise ImageError('a file must be open in binary mode, as open(path, "rb")')
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError, AttributeError) as error:  # ValueError: it is closed
        raise ImageError(f"the file cannot be read ({one_line(error)})") from error
    return io.BytesIO(content)


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
