"""Scenes of drawings as numbers, and their images: a thing in some pose and style, among others, on a background.

A seed decides a scene, each aspect of it (pose, style, background, company, finish) by its own random numbers, so that
a scene can be repeated with one aspect changed. Coordinates span -1 to 1 in an image; colors are RGB in 0..1.
"""

import colorsys
import io
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIZE = 64
Pixels = NDArray[np.float32]
Color = tuple[float, float, float]
T = TypeVar("T")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Ranges of luma. Those of a ground and of an ink on it are apart, so that lines and glyphs stand out.
_LIGHT, _DARK = (0.62, 1.0), (0.03, 0.2)
_INK_ON_LIGHT, _INK_ON_DARK = (0.0, 0.28), (0.55, 1.0)
_FINEST, _FACTORS = 144, (2, 3, 4, 6)  # size of a drawing, and by how much its copies are smaller
_DARKEST = 0.4  # mean luma of things that may stand on a dark ground, where their black outlines vanish
_HIDDEN = 0.3  # largest share of the main thing that a thing in front may hide
_BESIDE = 5  # pixels from a line within which nothing is covered if it is drawn in a glyph
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
class Sprite:
    """A drawing in the styles that need pixels of their own.

    Each is premultiplied RGBA (S, S, 4) in 0..1, in several sizes, the largest first. The drawing touches two sides
    of the square inside a transparent border of one pixel.

    Attributes:
        color: the drawing.
        line: its lines in black.
        paper: its lines in black on white.
        glyph: its inside in black without the lines, and lines that have no inside beside them.
        luma: mean luma of the drawing.
    """

    color: tuple[Pixels, ...]
    line: tuple[Pixels, ...]
    paper: tuple[Pixels, ...]
    glyph: tuple[Pixels, ...]
    luma: float


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


def make_sprite(color: Image.Image, line: Image.Image | None) -> Sprite:
    """Cut a drawing out of its canvas.

    Args:
        color: RGBA image of the drawing.
        line: RGBA image of its lines on the same canvas; None for a glyph, which has one color.
    """
    left, top, right, bottom = color.getbbox() or (0, 0, *color.size)
    side, middle = max(right - left, bottom - top) / 2, ((left + right) / 2, (top + bottom) / 2)
    box = (middle[0] - side, middle[1] - side, middle[0] + side, middle[1] + side)
    drawn = _premultiplied(color, box)
    lines = drawn[..., 3] if line is None else _premultiplied(line, box)[..., 3]
    glyph = drawn[..., 3] if line is None else _stencil(drawn[..., 3], lines)
    levels = _levels(np.dstack([drawn, lines, glyph]))
    return Sprite(
        color=tuple(level[..., :4].copy() for level in levels),
        line=tuple(_gray(0 * level[..., 4], level[..., 4]) for level in levels),
        paper=tuple(_gray(level[..., 3] - level[..., 4], level[..., 3]) for level in levels),
        glyph=tuple(_gray(0 * level[..., 5], level[..., 5]) for level in levels),
        luma=float((drawn[..., :3] @ _LUMA).sum() / max(float(drawn[..., 3].sum()), 1.0)),
    )


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


def draw_scene(scene: Scene, sprites: Callable[[str], Sprite]) -> Image.Image:
    """Draw a scene as an RGB image of `SIZE` x `SIZE` pixels; `sprites` returns the sprite of a drawing."""
    canvas = _background(scene)
    for thing in scene.behind:
        _layer(thing, sprites(thing.drawing)).on(canvas)
    main = _layer(scene.main, sprites(scene.main.drawing))
    main.on(canvas)
    front = None
    if scene.front is not None:
        front = _cleared(scene.front, sprites(scene.front.drawing), main.alpha())
    if front is not None:
        front.on(canvas)
    canvas = (canvas - 0.5) * np.float32(scene.contrast) + 0.5
    if scene.blur:
        blurred = _image(canvas).filter(ImageFilter.GaussianBlur(scene.blur))
        canvas = np.asarray(blurred, np.float32) / 255
    if scene.noise:
        grain = np.random.RandomState(scene.seed).standard_normal(canvas.shape)
        canvas = canvas + scene.noise * grain.astype(np.float32)
    return _image(canvas)


def as_png(image: Image.Image) -> bytes:
    """Encode an image as a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def is_glyph(drawing: str) -> bool:
    """Return whether a drawing has one color: whether it is one of Font Awesome's."""
    return drawing.startswith("fa")


# What a seed decides. Only `random()` and `uniform()` are used, which Python keeps from version to version.


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
    luma, wanted = float(np.dot((red, green, blue), _LUMA)), rng.uniform(*shades)
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
    return float(np.dot(scene.colors[0], _LUMA)) < (_DARK[1] + _LIGHT[0]) / 2


# Pixels.


def _premultiplied(image: Image.Image, box: tuple[float, float, float, float]) -> Pixels:
    """Return a part of an image, which may reach beyond it, as premultiplied RGBA (_FINEST, _FINEST, 4)."""
    scale = (box[2] - box[0]) / _FINEST
    matrix = (scale, 0, box[0], 0, scale, box[1])
    size = (_FINEST, _FINEST)
    pixels = np.asarray(
        image.convert("RGBa").transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )
    return pixels.astype(np.float32) / 255


def _stencil(alpha: Pixels, lines: Pixels) -> Pixels:
    """Return what a drawing (S, S) covers without its lines, and the lines that have nothing covered beside them."""
    inside = np.maximum(alpha - lines, 0)
    around = Image.fromarray((inside * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(_BESIDE))
    return np.maximum(inside, lines * (1 - np.clip(np.asarray(around, np.float32) / 32, 0, 1)))


def _levels(planes: Pixels) -> list[Pixels]:
    """Return planes (_FINEST, _FINEST, P) in smaller sizes, each with a transparent border of one pixel."""
    levels = []
    for factor in _FACTORS:
        parts = [planes[row::factor, column::factor] for row in range(factor) for column in range(factor)]
        levels.append(np.pad(sum(parts, start=np.zeros_like(parts[0])) / factor**2, ((1, 1), (1, 1), (0, 0))))
    return levels


def _gray(value: Pixels, alpha: Pixels) -> Pixels:
    """Return premultiplied RGBA (S, S, 4) of a gray value."""
    return np.dstack([value, value, value, alpha])


_AXIS = (np.arange(SIZE, dtype=np.float32) * 2 + 1) / SIZE - 1
_REACH = 1.9  # of a thing from its center, in its size, however it is turned, stretched and bent


@dataclass(frozen=True)
class _Layer:
    """A thing in its pose and style: premultiplied RGBA (h, w, 4) in some rows and columns of the image."""

    pixels: Pixels
    rows: slice
    columns: slice

    def on(self, canvas: Pixels) -> None:
        """Draw the thing on an image (SIZE, SIZE, 3)."""
        here = canvas[self.rows, self.columns]
        here *= 1 - self.pixels[..., 3:]
        here += self.pixels[..., :3]

    def alpha(self) -> Pixels:
        """Return what it covers, (SIZE, SIZE)."""
        covered = np.zeros((SIZE, SIZE), np.float32)
        covered[self.rows, self.columns] = self.pixels[..., 3]
        return covered


def _layer(thing: Thing, sprite: Sprite) -> _Layer:
    if thing.style is Style.LINE:
        levels = sprite.paper if thing.filled else sprite.line
    else:
        levels = sprite.glyph if thing.style is Style.GLYPH else sprite.color
    layer = _placed(levels, thing.pose)
    color, alpha, ink = layer.pixels[..., :3], layer.pixels[..., 3:], np.array(thing.ink, np.float32)
    if thing.style is Style.RECOLORED:
        color[...] = color[..., list(thing.order)] * ink
    elif thing.style is not Style.DRAWN:
        luma = (color @ _LUMA)[..., None]
        # Black becomes the ink, white stays white.
        color[...] = luma if thing.style is Style.GRAY else ink * alpha + (1 - ink) * luma
    return layer


def _placed(levels: tuple[Pixels, ...], pose: Pose) -> _Layer:
    """Sample the level that suits the pose, bilinearly."""
    level = min((level for level in levels if len(level) - 2 >= SIZE * pose.size), key=len, default=levels[0])
    side = len(level)
    columns, rows = (_window(center, _REACH * pose.size) for center in (pose.x, pose.y))
    across, down = _AXIS[None, columns] - np.float32(pose.x), _AXIS[rows, None] - np.float32(pose.y)
    cos, sin = math.cos(pose.turn) / pose.size, math.sin(pose.turn) / pose.size
    u = (cos * across + sin * down) / pose.stretch * (-1 if pose.mirror else 1)
    v = (cos * down - sin * across) * pose.stretch
    if pose.bend:
        u = u + pose.bend * np.sin(2.2 * v + pose.phase)
        v = v + pose.bend * np.sin(2.2 * u + 1.7 * pose.phase)
    x, y = (np.clip(place * ((side - 2) / 2) + (side - 1) / 2, 0, side - 1.001) for place in (u, v))
    column, row = x.astype(np.intp), y.astype(np.intp)
    right, low = (x - column).astype(np.float32)[..., None], (y - row).astype(np.float32)[..., None]
    flat, at = level.reshape(-1, 4), row * side + column
    upper, lower = flat.take(at, 0), flat.take(at + side, 0)
    upper += right * (flat.take(at + 1, 0) - upper)
    lower += right * (flat.take(at + side + 1, 0) - lower)
    upper += low * (lower - upper)
    return _Layer(upper, rows, columns)


def _window(center: float, reach: float) -> slice:
    """Return the pixels within reach of a place."""
    first, last = (center - reach + 1) / 2 * SIZE, (center + reach + 1) / 2 * SIZE
    return slice(max(math.floor(first), 0), max(math.ceil(last), 0))


def _cleared(front: Thing, sprite: Sprite, main: Pixels) -> _Layer | None:
    """Return a thing in front, moved away until it hides little of the main one, whose alpha is `main`."""
    middle_x, middle_y = (float((main.sum(axis) * _AXIS).sum() / max(float(main.sum()), 1.0)) for axis in (0, 1))
    for _ in range(8):
        layer = _layer(front, sprite)
        if float((layer.alpha() * main).sum()) <= _HIDDEN * float(main.sum()):
            return layer
        x, y, pose = front.pose.x - middle_x, front.pose.y - middle_y, front.pose
        step = 0.12 / max(math.hypot(x, y), 0.1)
        front = replace(front, pose=replace(pose, x=pose.x + step * x, y=pose.y + step * y, size=0.93 * pose.size))
    return None


def _background(scene: Scene) -> Pixels:
    first, second = np.array(scene.colors, np.float32)
    if scene.ground is Ground.PLAIN:
        return np.tile(first, (SIZE, SIZE, 1))
    u = _AXIS * math.cos(scene.angle) + _AXIS[:, None] * math.sin(scene.angle)
    v = _AXIS[:, None] * math.cos(scene.angle) - _AXIS * math.sin(scene.angle)
    if scene.ground is Ground.GRADED:
        mixed = np.clip(0.7 * u + 0.5, 0, 1)
    elif scene.ground is Ground.CLOUDS:
        mixed = _clouds(scene.seed)
    else:
        waves, cross = np.sin(scene.scale * u), np.sin(scene.scale * v)
        heights = {Ground.STRIPES: waves, Ground.CHECKS: waves * cross, Ground.DOTS: waves + cross - 0.8}
        mixed = 0.5 + 0.5 * np.tanh(6 * heights[scene.ground])
    canvas: Pixels = (first + mixed[..., None].astype(np.float32) * (second - first)).astype(np.float32)
    return canvas


def _clouds(seed: int) -> Pixels:
    """Return smooth noise (SIZE, SIZE) in 0..1 of three scales."""
    rng = np.random.RandomState(seed)
    total = np.full((SIZE, SIZE), 0.5, np.float32)
    for cells, share in ((3, 1.0), (7, 0.6), (16, 0.4)):
        noise = Image.fromarray(rng.random_sample((cells, cells)).astype(np.float32) - np.float32(0.5))
        total += share * np.asarray(noise.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    return np.clip(total, 0, 1)


def _image(canvas: Pixels) -> Image.Image:
    return Image.fromarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))
