"""The training corpus: every usable icon rendered once, with its name and its Unicode concept."""

import io
import json
import math
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tools.pictoclip import names
from tools.pictoclip.names import Concept, Concepts
from tools.pictoclip.sources import IconSet, folder_of, icon_name, package_of, used_sets

from vlprompt.utils.files import atomic_write

# Rendered a little larger than the 64 px the model sees, so that a view which zooms in stays sharp.
SIDE = 72
_FAINTEST = 100
_PER_SHEET = 256
_QUALITY = 80

Pictures = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing: its style (icon set), icon, name in words, Unicode code ("" if none), and the kind of its set."""

    style: str
    family: str
    icon: str
    name: str
    code: str
    emoji: bool
    color: bool


@dataclass(frozen=True)
class Corpus:
    """`pictures` (N, 72, 72, 4) uint8, RGBA with straight alpha; `drawings` in the same order; `concepts`."""

    pictures: Pictures
    drawings: list[Drawing]
    concepts: Concepts


def render(svg: str, side: int = SIDE) -> Pictures | None:
    """Render an SVG, centered, as RGBA (side, side, 4); None if it is broken or blank."""
    import resvg_py  # a machine that only trains has the packed corpus and no renderer

    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    except ValueError:
        return None
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    if image.size != (side, side):
        image.thumbnail((side, side))
        canvas = Image.new("RGBA", (side, side))
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    pixels = np.asarray(image)
    return pixels if pixels[..., 3].max() >= _FAINTEST else None


def drawings_of(icon_set: IconSet, packages: Path, concepts: Concepts) -> list[tuple[Drawing, str]]:
    """Return the usable drawings of a set, with their SVGs."""
    folder = folder_of(packages, package_of(icon_set))
    icons = json.loads((folder / "icons.json").read_text())
    color = bool(json.loads((folder / "info.json").read_text()).get("palette"))
    chars = json.loads((folder / "chars.json").read_text())
    codes = {icon: names.plain_code(code) for code, icon in chars.items()}
    found: list[tuple[Drawing, str]] = []
    for icon, body in icons["icons"].items():
        name = icon_name(icon_set, icon)
        if name is None or (icon_set.emoji and names.is_skin_tone(icon, icons["icons"])):
            continue
        if not icon_set.emoji:
            name = "" if body.get("hidden") else names.icon_words(name)
            if not names.shows_a_thing(name, concepts):
                continue
        code = codes.get(icon, "")
        if code not in concepts.by_code:
            code = concepts.code_of(name)
        if icon_set.emoji and not code:  # letters, digits, inventions of a single set
            continue
        family = icon_set.family or icon_set.name
        drawing = Drawing(icon_set.name, family, icon, name, code, icon_set.emoji, color)
        found.append((drawing, _svg(body, icons)))
    return found


def build(packages: Path, file: Path, workers: int = 2) -> Corpus:
    """Render every drawing, and pack them into `file`."""
    concepts = Concepts.load(packages)
    kept: list[tuple[Drawing, Pictures]] = []
    with ProcessPoolExecutor(workers) as pool:
        for icon_set in used_sets(packages):
            found = drawings_of(icon_set, packages, concepts)
            rendered = pool.map(render, [svg for _, svg in found], chunksize=32)
            good = [(d, p) for (d, _), p in zip(found, rendered, strict=True) if p is not None]
            kept += good
            known = sum(bool(drawing.code) for drawing, _ in good)
            print(f"{icon_set.name}: {len(good)} drawings, {known} with a Unicode concept", flush=True)
    kept.sort(key=lambda pair: not pair[0].color)  # sheets of colored drawings first
    corpus = Corpus(np.stack([picture for _, picture in kept]), [drawing for drawing, _ in kept], concepts)
    pack(corpus, file)
    return corpus


def pack(corpus: Corpus, file: Path) -> None:
    """Write the corpus as one small file: its names as JSON, and its drawings on sheets of 256 as WebP.

    Colored drawings have to come first. Of the others only the opacity is kept, without loss, for they are drawn in any
    ink.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("drawings.json", json.dumps([asdict(drawing) for drawing in corpus.drawings]))
        concepts = corpus.concepts.by_code.values()
        archive.writestr("concepts.json", json.dumps([asdict(concept) for concept in concepts]))
        colored = sum(drawing.color for drawing in corpus.drawings)
        parts = {"color": corpus.pictures[:colored], "ink": corpus.pictures[colored:, ..., 3:]}
        for kind, pictures in parts.items():
            for number, start in enumerate(range(0, len(pictures), _PER_SHEET)):
                sheet = io.BytesIO()
                drawn = _sheet(pictures[start : start + _PER_SHEET])
                drawn.save(sheet, "WEBP", lossless=kind == "ink", quality=_QUALITY, method=4)
                archive.writestr(f"{kind}-{number:03}.webp", sheet.getvalue())
    atomic_write(file, content.getvalue())


def load(file: Path) -> Corpus:
    """Read a packed corpus."""
    with zipfile.ZipFile(file) as archive:
        drawings = [Drawing(**row) for row in json.loads(archive.read("drawings.json"))]
        rows = json.loads(archive.read("concepts.json"))
        sheets = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".webp")]
    concepts = [Concept(**row | {"tags": tuple(row["tags"]), "synonyms": tuple(row["synonyms"])}) for row in rows]
    colored = sum(drawing.color for drawing in drawings)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(_cells, sheets))
    split = -(-colored // _PER_SHEET)
    pictures = np.zeros((len(drawings), *parts[0].shape[1:3], 4), np.uint8)
    for start, some in ((0, parts[:split]), (colored, parts[split:])):
        for number, cells in enumerate(some):
            first = start + number * _PER_SHEET
            here = pictures[first : min(first + _PER_SHEET, colored if start == 0 else len(drawings))]
            here[..., 4 - cells.shape[-1] :] = cells[: len(here)]
    return Corpus(pictures, drawings, Concepts(concepts, {}))


def _sheet(pictures: Pictures) -> Image.Image:
    """Arrange up to 256 drawings (n, S, S, C) in rows of 16."""
    side, channels = pictures.shape[1], pictures.shape[-1]
    cells = np.zeros((_PER_SHEET, side, side, channels), np.uint8)
    cells[: len(pictures)] = pictures
    across = math.isqrt(_PER_SHEET)
    sheet = cells.reshape(across, across, side, side, channels).swapaxes(1, 2)
    return Image.fromarray(sheet.reshape(across * side, across * side, channels).squeeze())


def _cells(sheet: bytes) -> Pictures:
    """Return the drawings of a sheet: RGBA (256, S, S, 4), or opacity (256, S, S, 1) of a gray one."""
    image = Image.open(io.BytesIO(sheet))
    pixels = np.asarray(image)
    pixels = pixels if image.mode == "RGBA" else pixels[..., :1]
    across = math.isqrt(_PER_SHEET)
    side = len(pixels) // across
    cells = pixels.reshape(across, side, across, side, -1).swapaxes(1, 2)
    return cells.reshape(_PER_SHEET, side, side, -1)


def _svg(body: dict[str, Any], icons: dict[str, Any]) -> str:
    left, top = (body.get(key, icons.get(key, 0)) for key in ("left", "top"))
    width, height = (body.get(key, icons.get(key, 16)) for key in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left} {top} {width} {height}" width="{SIDE}" height="{SIDE}" color="#000">{body["body"]}</svg>'
    )
