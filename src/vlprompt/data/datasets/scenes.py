"""Scenes of drawings as numbers: a thing in some pose and style, among others, on a background.

A seed decides a scene, each aspect of it (pose, style, background, company, finish) by its own random numbers, so that
a scene can be repeated with one aspect changed. Coordinates span -1 to 1 in an image; colors are RGB in 0..1.
"""

import colorsys
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

Color = tuple[float, float, float]
T = TypeVar("T")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Ranges of luma. Those of a ground and of an ink on it are apart, so that lines and glyphs stand out.
_LIGHT, _DARK = (0.62, 1.0), (0.03, 0.2)
_INK_ON_LIGHT, _INK_ON_DARK = (0.0, 0.28), (0.55, 1.0)
_DARKEST = 0.4  # mean luma of things that may stand on a dark ground, where their black outlines vanish
_CLUTTER = 5  # things behind the main one in a cluttered scene


class Style(StrEnum):
    """How a drawing is shown."""

    DRAWN = "drawn"
    GRAY = "gray"
    TINT = "tint"
    RECOLORED = "recolored"
    LINE = "line"
    GLYPH = "glyph"


class Ground(StrEnum):
    """Patterns of backgrounds between two colors."""

    PLAIN = "plain"
    GRADED = "graded"
    STRIPES = "stripes"
    CHECKS = "checks"
    DOTS = "dots"
    CLOUDS = "clouds"


STYLES = {
    Style.DRAWN: 0.5,
    Style.GRAY: 0.1,
    Style.TINT: 0.08,
    Style.RECOLORED: 0.1,
    Style.LINE: 0.14,
    Style.GLYPH: 0.08,
}
GROUNDS = {
    Ground.PLAIN: 0.4,
    Ground.GRADED: 0.2,
    Ground.CLOUDS: 0.16,
    Ground.STRIPES: 0.08,
    Ground.CHECKS: 0.08,
    Ground.DOTS: 0.08,
}


@dataclass(frozen=True)
class Pose:
    """Place of a thing: center, share of the image's width, turn in radians, mirroring, stretching and bending."""

    x: float
    y: float
    size: float
    turn: float = 0.0
    mirror: bool = False
    stretch: float = 1.0
    bend: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Thing:
    """A drawing in a pose and style.

    `ink` is the color of lines, glyphs and tints, `order` that of the channels of a recolored drawing, and `filled`
    whether line art covers what is behind it.
    """

    drawing: str
    pose: Pose
    style: Style = Style.DRAWN
    ink: Color = (0.0, 0.0, 0.0)
    order: tuple[int, int, int] = (0, 1, 2)
    filled: bool = False


@dataclass(frozen=True)
class Scene:
    """All numbers of an image.

    Attributes:
        main: the thing that the image is of.
        behind: things behind it or beside it.
        front: a thing that may hide a part of it.
        ground: pattern of the background.
        colors: its two colors.
        angle: direction of the pattern, in radians.
        scale: spatial frequency of the pattern.
        blur: radius in pixels.
        noise: standard deviation of the noise.
        contrast: factor on the differences from medium gray.
        seed: of the clouds and the noise.
    """

    main: Thing
    behind: tuple[Thing, ...] = ()
    front: Thing | None = None
    ground: Ground = Ground.PLAIN
    colors: tuple[Color, Color] = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    angle: float = 0.0
    scale: float = 5.0
    blur: float = 0.0
    noise: float = 0.0
    contrast: float = 1.0
    seed: int = 0


def sample_scene(
    seed: str, drawings: Sequence[str], others: Sequence[str], luma: Callable[[str], float], upright: bool = False
) -> Scene:
    """Compose the scene of a seed.

    Args:
        seed: what all numbers follow from.
        drawings: drawings of the main thing, of which one is chosen.
        others: drawings that may stand beside, behind and in front of it.
        luma: function that returns the mean luma of a drawing.
        upright: whether turning the thing far or mirroring it would change what it is.
    """
    count, hides = _company(_random(seed, "company"))
    drawing = _pick(_random(seed, "drawing"), drawings)
    rng = _random(seed, "ground")
    dark = rng.random() < 0.25 and (is_glyph(drawing) or luma(drawing) > _DARKEST)
    shades = _DARK if dark else _LIGHT
    main = Thing(
        drawing, _pose(_random(seed, "pose"), 0.45 if count or hides else 0.6, 0.78 if count else 0.9, upright)
    )
    scene = Scene(
        main=_styled(main, seed, dark),
        ground=_weighted(rng, GROUNDS),
        colors=(_color(rng, shades), _color(rng, shades)),
        angle=rng.uniform(0, math.pi),
        scale=rng.uniform(3, 9),
    )
    scene = _finish(scene, _random(seed, "finish"))
    return _with_company(scene, seed, others, count, hides)


def with_style(scene: Scene, seed: str, style: Style) -> Scene:
    """Show the main thing of a seed's scene in another style."""
    return replace(scene, main=_styled(scene.main, seed, _is_dark(scene), style))


def with_clutter(scene: Scene, seed: str, others: Sequence[str]) -> Scene:
    """Put more things around and in front of the main thing of a seed's scene, on a pattern."""
    patterns = (Ground.STRIPES, Ground.CHECKS, Ground.DOTS, Ground.CLOUDS)
    pose = scene.main.pose
    scene = replace(
        scene,
        ground=_pick(_random(seed, "pattern"), patterns),
        main=replace(scene.main, pose=replace(pose, size=min(pose.size, 0.75))),
    )
    return _with_company(scene, seed, others, _CLUTTER, True)


def with_noise(scene: Scene, seed: str) -> Scene:
    """Make the image of a seed's scene blurred and noisy."""
    rng = _random(seed, "noisy")
    return replace(scene, blur=rng.uniform(0.6, 1.0), noise=rng.uniform(0.1, 0.2))


def is_glyph(drawing: str) -> bool:
    """Return whether a drawing has one color: whether it is one of Font Awesome's."""
    return drawing.startswith("fa")


# Only `random()` and `uniform()` are used, which Python keeps from version to version.


def _random(seed: str, aspect: str) -> random.Random:
    return random.Random(f"{seed}/{aspect}")


def _pick(rng: random.Random, options: Sequence[T]) -> T:
    return options[int(rng.random() * len(options))]


def _weighted(rng: random.Random, shares: dict[T, float]) -> T:
    at = rng.random() * sum(shares.values())
    for option, share in shares.items():
        at -= share
        if at < 0:
            return option
    return option


def _color(rng: random.Random, shades: tuple[float, float]) -> Color:
    """Return a random color of random saturation whose luma is in a range."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.5, 1.0)
    luma, wanted = float(np.dot((red, green, blue), LUMA)), rng.uniform(*shades)
    if luma > wanted:
        return red * wanted / luma, green * wanted / luma, blue * wanted / luma
    white = (wanted - luma) / max(1 - luma, 1e-6)
    return red + (1 - red) * white, green + (1 - green) * white, blue + (1 - blue) * white


def _company(rng: random.Random) -> tuple[int, bool]:
    """Return how many things are behind or beside the main one, and whether one hides a part of it."""
    return _weighted(rng, {0: 0.45, 1: 0.2, 2: 0.2, 3: 0.15}), rng.random() < 0.15


def _pose(rng: random.Random, smallest: float, largest: float, upright: bool) -> Pose:
    size = rng.uniform(smallest, largest)
    limit = 0.2 if upright else 0.9 if rng.random() < 0.2 else 0.35
    return Pose(
        x=rng.uniform(-1, 1) * (1 - size),
        y=rng.uniform(-1, 1) * (1 - size),
        size=size,
        turn=rng.uniform(-limit, limit),
        mirror=rng.random() < 0.4 and not upright,
        stretch=math.exp(rng.uniform(-0.15, 0.15)),
        bend=rng.uniform(0, 0.14) if rng.random() < 0.5 else 0.0,
        phase=rng.uniform(0, 2 * math.pi),
    )


def _styled(thing: Thing, seed: str, dark: bool, style: Style | None = None) -> Thing:
    """Return a thing in a style, or in a random one, with colors that stand out on a light or dark ground."""
    rng = _random(seed, "style")
    orders = ((1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0))
    chosen, order, plain, filled = _weighted(rng, STYLES), _pick(rng, orders), rng.random() < 0.4, rng.random() < 0.5
    style = Style.GLYPH if is_glyph(thing.drawing) else style or chosen
    black = 1.0 if dark else 0.0
    ink = (black, black, black) if plain else _color(rng, _INK_ON_DARK if dark else _INK_ON_LIGHT)
    if style is Style.TINT:
        ink = _color(rng, _INK_ON_LIGHT)
    if style is Style.RECOLORED:
        ink = _color(rng, (0.7, 0.95))
    return replace(thing, style=style, ink=ink, order=order, filled=filled and not dark)


def _finish(scene: Scene, rng: random.Random) -> Scene:
    blurred, noisy = rng.random() < 0.12, rng.random() < 0.2
    return replace(
        scene,
        blur=rng.uniform(0.4, 0.8) * blurred,
        noise=rng.uniform(0.02, 0.07) * noisy,
        contrast=rng.uniform(0.8, 1.1),
        seed=int(rng.random() * 2**32),
    )


def _with_company(scene: Scene, seed: str, others: Sequence[str], count: int, hides: bool) -> Scene:
    """Return a scene with things behind the main one and, if `hides`, one in front."""
    behind = tuple(_other(scene, f"{seed}/other {number}", others, beside=False) for number in range(count))
    return replace(scene, behind=behind, front=_other(scene, f"{seed}/front", others, beside=True) if hides else None)


def _other(scene: Scene, seed: str, others: Sequence[str], beside: bool) -> Thing:
    """Return a small thing anywhere or, if `beside`, near the edge of the main one."""
    rng, main = _random(seed, "other"), scene.main.pose
    pose, away = _pose(rng, 0.16, 0.34, upright=False), rng.uniform(0, 2 * math.pi)
    if beside:
        reach = main.size * rng.uniform(0.6, 0.9)
        pose = replace(pose, x=main.x + reach * math.cos(away), y=main.y + reach * math.sin(away))
    else:
        pose = replace(pose, x=rng.uniform(-0.95, 0.95), y=rng.uniform(-0.95, 0.95))
    return _styled(Thing(_pick(rng, others), pose), seed, _is_dark(scene))


def _is_dark(scene: Scene) -> bool:
    return float(np.dot(scene.colors[0], LUMA)) < (_DARK[1] + _LIGHT[0]) / 2
