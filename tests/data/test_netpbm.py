import io

import numpy as np
import pytest

from vlprompt.data.images import ImageError, read_image

ROW = [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
FILES = {
    "P1": (b"P1\n# a comment\n3 1\n1 0\n0", [[0, 0, 0], [255, 255, 255], [255, 255, 255]]),
    "P1 without spaces": (b"P1 3 1 100", [[0, 0, 0], [255, 255, 255], [255, 255, 255]]),
    "P2": (b"P2 3 1 # width\n255\n0 128 # more\n255 ", ROW),
    "P2, small": (b"P2 3 1 10\n0 5 10", ROW),
    "P2, over its maximum": (b"P2 3 1 10\n0 5 99", ROW),
    "P2, 12 bits": (b"P2 3 1 4095\n0 2048 4095", ROW),
    "P2, 16 bits": (b"P2 3 1 65535\n0 32768 65535", ROW),
    "P3": (b"P3 3 1 255\n0 0 0 128 128 128 255 255 255", ROW),
    "P5": (b"P5 3 1 255\n\x00\x80\xff", ROW),
    "P5, small": (b"P5 3 1 4\n\x00\x02\x04", ROW),
    "P5, 12 bits": (b"P5 3 1 4095\n\x00\x00\x08\x00\x0f\xff", ROW),
    "P5, 16 bits": (b"P5 3 1 65535\n\x00\x00\x80\x00\xff\xff", ROW),
    "P6, small": (b"P6 3 1 4\n\0\0\0\2\2\2\4\4\4", ROW),
    "P6, 12 bits": (b"P6 3 1 4095\n" + b"\0\0" * 3 + b"\x08\0" * 3 + b"\x0f\xff" * 3, ROW),
}


@pytest.mark.parametrize("name", FILES)
def test_values(name: str) -> None:
    content, expected = FILES[name]
    np.testing.assert_array_equal(np.asarray(read_image(io.BytesIO(content)))[0], expected)


@pytest.mark.parametrize(
    "content", [b"P2 3 1 10\n0 5", b"P2 3 1 10\n0 five 9", b"P5 3 1 4\n\0\0", b"P6 3 1 4095\n\0\0", b"P1 3 1 10"]
)
@pytest.mark.filterwarnings("ignore:string or file could not be read")
def test_too_few_values(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        read_image(io.BytesIO(content))
