import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Draw = Callable[[Path], Path]


@pytest.fixture
def draw() -> Draw:
    """Function that writes a small image, another one for every path below the temporary folder."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        color = hashlib.sha256("/".join(path.parts[-4:]).encode()).digest()[:3]
        Image.new("RGB", (12, 10), tuple(color)).save(path)
        return path

    return write


@pytest.fixture
def tree(tmp_path: Path, draw: Draw) -> Path:
    """A folder of three classes with ten images each."""
    root = tmp_path / "tree"
    for name in ("sea_lion", "ant", "oak"):
        for number in range(10):
            draw(root / name / f"{number}.png")
    return root


@pytest.fixture
def split_tree(tmp_path: Path, draw: Draw) -> Path:
    """A folder with train/ and test/ of two classes each."""
    root = tmp_path / "split_tree"
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                draw(root / split / name / f"{number}.png")
    return root
