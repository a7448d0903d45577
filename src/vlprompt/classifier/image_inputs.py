"""Pictures in, however people hold them, as batches of pixels."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlprompt.data.images import ImageError, read_image, to_rgb
from vlprompt.errors import VLPromptError

Picture = str | Path | Image.Image | NDArray[Any]

THREADS = 4
# As in http://, s3:// and data:, but not C:\; a Path has one slash left of two.
URL = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)


def as_image(picture: Picture) -> Image.Image:
    """A picture as an RGB image: a file's path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Arrays hold bytes, or floats from 0 to 1. Raises ImageError, with a reason, for whatever else.
    """
    match picture:
        case str() | Path():
            if URL.match(str(picture)):
                raise ImageError("a URL; nothing is fetched from the network, so download it first", str(picture))
            return read_image(picture)
        case Image.Image():
            return to_rgb(picture)
        case np.ndarray():
            return to_rgb(_from_array(picture))
    raise ImageError(f"a {type(picture).__name__} is no picture; give a path, a PIL image or an array (H, W, 3)")


def as_many(pictures: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """One picture as a list of one, many as they are."""
    # An array (3, H, W) is a mistake, not three gray pictures.
    array = isinstance(pictures, np.ndarray) and pictures.dtype != object and pictures.ndim <= 3
    single = array or isinstance(pictures, str | Path | Image.Image)
    if isinstance(pictures, bytes) or (not single and not isinstance(pictures, Iterable)):
        raise VLPromptError(f"a {type(pictures).__name__} is no picture; give a path, a PIL image, an array, or many")
    return [pictures] if single else pictures  # type: ignore[return-value,list-item]


def read_ahead(
    pictures: Iterable[Picture], read: Callable[[Picture], Tensor], batch_size: int
) -> Iterator[list[Tensor | ImageError]]:
    """Batches of what `read` makes of pictures, in order; the next one is read while its caller works on this one.

    A picture that cannot be read gives its ImageError.
    """

    def attempt(picture: Picture) -> Tensor | ImageError:
        try:
            return read(picture)
        except ImageError as error:
            return error

    if batch_size < 1:
        raise VLPromptError(f"batch_size={batch_size}: give 1 or more")
    rest, waiting = iter(pictures), deque[list[Future[Tensor | ImageError]]]()
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := [pool.submit(attempt, picture) for picture in islice(rest, batch_size)]:
            waiting.append(batch)
            if len(waiting) > 1:
                yield [future.result() for future in waiting.popleft()]
        for batch in waiting:
            yield [future.result() for future in batch]


def _is_one(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))


def _from_array(array: NDArray[Any]) -> Image.Image:
    if not _is_one(array) or array.size == 0:
        raise ImageError(f"an array with shape {array.shape} is no picture; give (H, W), (H, W, 3) or (H, W, 4)")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError("an array of floats needs values from 0 to 1; scale it, or give bytes (uint8)")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} is no picture; give bytes (uint8) or floats from 0 to 1")
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
