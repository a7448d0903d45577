"""The training corpus: every usable icon rendered once, with its name and its Unicode concept."""

import io
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image
from tools.pictoclip import names
from tools.pictoclip.names import Concepts
from tools.pictoclip.sources import IconSet, folder_of, icon_name, package_of, used_sets

from vlprompt.utils.files import atomic_write

# Rendered a little larger than the 64 px the model sees, so that a view which zooms in stays sharp.
SIDE = 72
_FAINTEST = 100


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

    pictures: np.ndarray[Any, np.dtype[np.uint8]]
    drawings: list[Drawing]
    concepts: Concepts


def render(svg: str, side: int = SIDE) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """Render an SVG, centered, as RGBA (side, side, 4); None if it is broken or blank."""
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


def build(packages: Path, folder: Path, workers: int = 2) -> Corpus:
    """Render every drawing into `folder` (`pictures.npy`, `drawings.json`)."""
    concepts = Concepts.load(packages)
    kept: list[Drawing] = []
    pictures: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    with ProcessPoolExecutor(workers) as pool:
        for icon_set in used_sets(packages):
            found = drawings_of(icon_set, packages, concepts)
            rendered = pool.map(render, [svg for _, svg in found], chunksize=32)
            good = [(d, p) for (d, _), p in zip(found, rendered, strict=True) if p is not None]
            kept += [drawing for drawing, _ in good]
            pictures += [picture for _, picture in good]
            known = sum(bool(drawing.code) for drawing, _ in good)
            print(f"{icon_set.name}: {len(good)} drawings, {known} with a Unicode concept", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    stacked = np.stack(pictures)
    np.save(folder / "pictures.npy", stacked)
    # Written last: its presence marks the corpus as complete.
    atomic_write(folder / "drawings.json", json.dumps([asdict(drawing) for drawing in kept]))
    return Corpus(stacked, kept, concepts)


def load(packages: Path, folder: Path) -> Corpus:
    drawings = [Drawing(**row) for row in json.loads((folder / "drawings.json").read_text())]
    pictures = np.load(folder / "pictures.npy", mmap_mode="r", allow_pickle=False)
    return Corpus(pictures, drawings, Concepts.load(packages))


def _svg(body: dict[str, Any], icons: dict[str, Any]) -> str:
    left, top = (body.get(key, icons.get(key, 0)) for key in ("left", "top"))
    width, height = (body.get(key, icons.get(key, 16)) for key in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left} {top} {width} {height}" width="{SIDE}" height="{SIDE}" color="#000">{body["body"]}</svg>'
    )
