"""Images of scenes: sprites of drawings, sampled in their poses and blended on a background."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vlprompt.data.datasets.scenes import LUMA, Ground, Pose, Scene, Style, Thing

SIZE = 64
Pixels = NDArray[np.float32]
_FINEST, _FACTORS = 144, (2, 3, 4, 6)  # size of a drawing, and by how much its copies are smaller
_HIDDEN = 0.3  # largest share of the main thing that a thing in front may hide
_BESIDE = 5  # pixels from a line within which nothing is covered if it is drawn in a glyph


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
        luma=float((drawn[..., :3] @ LUMA).sum() / max(float(drawn[..., 3].sum()), 1.0)),
    )


def draw_scene(scene: Scene, sprites: Callable[[str], Sprite]) -> Image.Image:
    """Draw a scene as an RGB image of `SIZE` x `SIZE` pixels; `sprites` returns the sprite of a drawing."""
    canvas = _background(scene)
    for thing in scene.behind:
        _layer(thing, sprites(thing.drawing)).on(canvas)
    main = _layer(scene.main, sprites(scene.main.drawing))
    main.on(canvas)
    if scene.front is not None:
        front = _cleared(scene.front, sprites(scene.front.drawing), main.alpha())
        if front is not None:
            front.on(canvas)
    canvas = (canvas - 0.5) * np.float32(scene.contrast) + 0.5
    if scene.blur:
        blurred = _image(canvas).filter(ImageFilter.GaussianBlur(scene.blur))
        canvas = np.asarray(blurred, np.float32) / np.float32(255)
    if scene.noise:
        grain = np.random.RandomState(scene.seed).standard_normal(canvas.shape).astype(np.float32)
        canvas = canvas + scene.noise * grain
    return _image(canvas)


def as_png(image: Image.Image) -> bytes:
    """Encode an image as a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _premultiplied(image: Image.Image, box: tuple[float, float, float, float]) -> Pixels:
    """Return a part of an image, which may reach beyond it, as premultiplied RGBA (_FINEST, _FINEST, 4)."""
    scale = (box[2] - box[0]) / _FINEST
    matrix, size = (scale, 0, box[0], 0, scale, box[1]), (_FINEST, _FINEST)
    part = image.convert("RGBa").transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(part, np.float32) / np.float32(255)


def _stencil(alpha: Pixels, lines: Pixels) -> Pixels:
    """Return what a drawing (S, S) covers without its lines, and the lines that have nothing covered beside them."""
    inside = np.maximum(alpha - lines, 0)
    around = Image.fromarray((inside * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(_BESIDE))
    beside = np.clip(np.asarray(around, np.float32) / np.float32(32), 0, 1)
    stencil: Pixels = np.maximum(inside, lines * (1 - beside))
    return stencil


def _levels(planes: Pixels) -> list[Pixels]:
    """Return planes (_FINEST, _FINEST, P) in smaller sizes, each with a transparent border of one pixel."""
    levels: list[Pixels] = []
    for factor in _FACTORS:
        parts = [planes[row::factor, column::factor] for row in range(factor) for column in range(factor)]
        mean = sum(parts, start=np.zeros_like(parts[0])) / np.float32(factor**2)
        levels.append(np.pad(mean, ((1, 1), (1, 1), (0, 0))))
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
        luma = (color @ LUMA)[..., None]
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
        mixed: Pixels = np.clip(0.7 * u + 0.5, 0, 1)
    elif scene.ground is Ground.CLOUDS:
        mixed = _clouds(scene.seed)
    else:
        waves, cross = np.sin(scene.scale * u), np.sin(scene.scale * v)
        heights = {Ground.STRIPES: waves, Ground.CHECKS: waves * cross, Ground.DOTS: waves + cross - 0.8}
        mixed = 0.5 + 0.5 * np.tanh(6 * heights[scene.ground])
    canvas: Pixels = first + mixed[..., None] * (second - first)
    return canvas.astype(np.float32)


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
