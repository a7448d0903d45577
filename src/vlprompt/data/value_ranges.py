"""Map the values of 16-bit, 32-bit and float images to 8 bits.

One rule for all formats. Integers from 0 to 65535 are read with the bits that the image's largest value needs, of 8,
10, 12, 14 or 16: cameras and X-ray detectors of 10 to 14 bits store their values in files of 16. Other values are
stretched from their minimum to their maximum. A value range replaces both rules.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vlprompt.utils.strings import visible

logger = logging.getLogger("vlprompt")

# Values that become black and white.
ValueRange = tuple[float, float]

# Values converted at a time, to bound memory.
PART = 1 << 20
# Fewer gray levels than this in an image's own bits are reported.
FEW_LEVELS = 32

_reported = False


def to_8_bits(values: NDArray[np.generic], value_range: ValueRange | None, name: str = "") -> NDArray[np.uint8]:
    """Map values to 0 to 255, and report the first image whose values need fewer than 16 bits or are close together.

    Args:
        values: integers or floats of any shape; values that are not finite count as 0.
        value_range: values that become 0 and 255; None for the rule above.
        name: name of the image for messages.

    Examples:
        >>> to_8_bits(np.array([0, 2048, 4095], np.uint16), None).tolist()
        [0, 128, 255]
        >>> to_8_bits(np.array([7000, 8000, 9000], np.uint16), (7000, 9000)).tolist()
        [0, 128, 255]
    """
    if value_range is not None:
        return _linear(values, *value_range)
    low, high = _bounds(values)
    if not (np.issubdtype(values.dtype, np.integer) and low >= 0 and high <= 0xFFFF):
        return _linear(values, low, high)
    bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 1 << bits)
    if bits < 16 or high - low < FEW_LEVELS << (bits - 8):
        _report(name, int(low), int(high), bits)
    return _by_parts(values, lambda part: part >> (bits - 8))  # type: ignore[operator]


def _bounds(values: NDArray[np.generic]) -> ValueRange:
    """Return the smallest and the largest value."""
    if np.issubdtype(values.dtype, np.integer):
        return float(values.min()), float(values.max())
    bounds = [(part.min(), part.max()) for part in map(_finite, _parts(values))]
    return float(min(low for low, _ in bounds)), float(max(high for _, high in bounds))


def _linear(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    scale = 255.0 / (high - low or 1.0)
    return _by_parts(values, lambda part: ((_finite(part) - low) * scale).round().clip(0, 255))


def _finite(part: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.nan_to_num(part.astype(np.float64))


def _by_parts(
    values: NDArray[np.generic], convert: Callable[[NDArray[np.generic]], NDArray[np.generic]]
) -> NDArray[np.uint8]:
    converted = np.empty(values.size, np.uint8)
    for start, part in zip(range(0, values.size, PART), _parts(values), strict=True):
        converted[start : start + PART] = convert(part)
    return converted.reshape(values.shape)


def _parts(values: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    flat = values.reshape(-1)
    return [flat[start : start + PART] for start in range(0, flat.size, PART)]


def _report(name: str, low: int, high: int, bits: int) -> None:
    global _reported
    if not _reported:  # once, since a folder has thousands of them
        logger.warning(
            "%s has values from %d to %d in 16 bits, read as %d bits; set data.value_range to read all images alike",
            visible(name) or "an image",
            low,
            high,
            bits,
        )
    _reported = True
