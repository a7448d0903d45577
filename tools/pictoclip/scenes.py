"""Random scenes of drawings, as numbers: what is in an image, where, in which style, on what background.

`render.py` draws them and `captions.py` describes them. Every array has one row per image.
"""

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Layers are drawn in this order. The main thing, which the caption names, is third.
LAYERS, MAIN = 4, 2
_GENTLEST = 0.25
_CURRICULUM = 0.15


class Style(IntEnum):
    """How a drawing is shown; drawings of one color are always shown as INK."""

    DRAWN = 0
    GRAY = 1
    LINE = 2
    GLYPH = 3
    TINT = 4
    SHUFFLED = 5
    INK = 6


class Kind(IntEnum):
    """What a scene consists of."""

    PLAIN = 0
    PLACED = 1
    CLUTTER = 2
    BESIDE = 3
    COPIES = 4
    HIDDEN = 5


class Ground(IntEnum):
    """Patterns of backgrounds between two colors."""

    FLAT = 0
    GRADIENT = 1
    STRIPES = 2
    CHECKS = 3
    DOTS = 4
    CLOUDS = 5


BASE_COLORS = {
    "black": (0.06, 0.06, 0.07),
    "white": (1.0, 1.0, 1.0),
    "gray": (0.5, 0.5, 0.5),
    "red": (0.86, 0.15, 0.14),
    "orange": (0.97, 0.55, 0.12),
    "yellow": (0.98, 0.85, 0.2),
    "green": (0.22, 0.62, 0.25),
    "blue": (0.16, 0.4, 0.85),
    "purple": (0.52, 0.25, 0.7),
    "pink": (0.96, 0.5, 0.68),
    "brown": (0.5, 0.31, 0.19),
    "turquoise": (0.15, 0.68, 0.68),
}
_BLACK, _WHITE = 0, 1


def _variants() -> dict[str, tuple[float, ...]]:
    colors: dict[str, tuple[float, ...]] = dict(BASE_COLORS)
    for name, rgb in list(BASE_COLORS.items())[2:]:
        colors[f"light {name}"] = tuple(0.4 * c + 0.6 for c in rgb)
        colors[f"dark {name}"] = tuple(0.5 * c for c in rgb)
    return colors


COLORS = _variants()
COLOR_NAMES = tuple(COLORS)
PALETTE = np.array(list(COLORS.values()), np.float32)
_LIGHT = np.array([i for i, name in enumerate(COLOR_NAMES) if name.startswith("light") or i == _WHITE])
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the kinds of scenes, backgrounds and styles.

    `kinds` in the order of `Kind`; `styles` of colored drawings, `grounds` of scenes that are not plain.
    """

    kinds: tuple[float, ...] = (0.35, 0.20, 0.17, 0.14, 0.07, 0.07)
    styles: tuple[float, ...] = (0.52, 0.10, 0.16, 0.10, 0.06, 0.06)
    grounds: tuple[float, ...] = (0.40, 0.16, 0.08, 0.07, 0.07, 0.22)


@dataclass(frozen=True)
class Scenes:
    """A batch of B scenes.

    drawings (B, 4): rows of the corpus by layer, -1 for none; kinds (B,): `Kind`; copies (B,): how many main things.
    styles, inks (B, 4): `Style` and color of each layer; ink_rgb (B, 4, 3); filled (B, 4): lines and glyphs, inside.
    poses (B, 4, 8): x, y, size, aspect, angle, mirror (1 or -1), bend, phase; the image spans -1 to 1.
    grounds (B,): `Ground`; ground_colors (B, 2), ground_rgb (B, 2, 3); pattern (B, 3): angle, frequency, phase.
    finish (B, 4): blur (0 or 1), noise, contrast, brightness.
    """

    drawings: Array
    kinds: Array
    copies: Array
    styles: Array
    inks: Array
    ink_rgb: Array
    filled: Array
    poses: Array
    grounds: Array
    ground_colors: Array
    ground_rgb: Array
    pattern: Array
    finish: Array

    def __len__(self) -> int:
        return len(self.drawings)

    def rows(self, start: int, stop: int) -> "Scenes":
        return Scenes(*(getattr(self, field.name)[start:stop] for field in fields(self)))


def strength_at(progress: float) -> float:
    """Return the strength of variation after `progress` (0 to 1) of the budget."""
    return min(1.0, _GENTLEST + progress / _CURRICULUM)


def sample_scenes(
    rng: np.random.Generator, main: Array, others: Array, monochrome: Array, mix: Mix, strength: float = 1.0
) -> Scenes:
    """Compose scenes around the drawings `main` (B,).

    `others` (B, 2) are drawings to put beside, behind and in front; `monochrome` (N,) marks drawings of one color.
    """
    n = len(main)
    shares = np.array(mix.kinds)
    shares = np.concatenate([[1 - strength * (1 - shares[0])], strength * shares[1:]])
    kinds = rng.choice(len(Kind), n, p=shares / shares.sum()).astype(np.int8)
    drawings = np.full((n, LAYERS), -1, np.int64)
    drawings[:, MAIN] = main
    poses = _plain_poses(rng, n, strength)
    copies = np.ones(n, np.int8)

    placed = np.flatnonzero((kinds == Kind.PLACED) | (kinds == Kind.CLUTTER) | (kinds == Kind.HIDDEN))
    poses[placed, MAIN] = _scattered(rng, len(placed), 0.35, 0.85)
    clutter = np.flatnonzero((kinds == Kind.CLUTTER) | ((kinds == Kind.HIDDEN) & (rng.random(n) < 0.3)))
    for layer in (0, 1):
        some = clutter if layer else clutter[rng.random(len(clutter)) < 0.6]
        drawings[some, layer] = others[some, layer]
        poses[some, layer] = _scattered(rng, len(some), 0.18, 0.5)

    hidden = np.flatnonzero(kinds == Kind.HIDDEN)
    drawings[hidden, 3] = others[hidden, 0]
    poses[hidden, 3] = _scattered(rng, len(hidden), 0.2, 0.45)
    away = rng.random(len(hidden)) * 2 * math.pi
    distance = poses[hidden, MAIN, 2] * rng.uniform(0.4, 0.85, len(hidden))
    poses[hidden, 3, 0] = poses[hidden, MAIN, 0] + distance * np.cos(away)
    poses[hidden, 3, 1] = poses[hidden, MAIN, 1] + distance * np.sin(away)

    grouped = np.flatnonzero((kinds == Kind.BESIDE) | (kinds == Kind.COPIES))
    slots = _slots(rng, len(grouped))
    third = rng.random(len(grouped)) < 0.35
    repeated = kinds[grouped] == Kind.COPIES
    for place, (layer, present) in enumerate(((MAIN, third >= 0), (3, third >= 0), (1, third))):
        some, here = grouped[present], np.flatnonzero(present)
        poses[some, layer] = _scattered(rng, len(some), 0.34, 0.5)
        poses[some, layer, :2] = slots[here, place]
        if layer != MAIN:
            drawings[some, layer] = np.where(repeated[here], main[some], others[some, int(layer == 3)])
    copies[grouped] = np.where(repeated, 2 + third, 1)

    styles = np.where(monochrome[drawings], Style.INK, rng.choice(len(mix.styles), (n, LAYERS), p=mix.styles))
    styles[:, (1, 3)] = np.where((copies > 1)[:, None], styles[:, [MAIN]], styles[:, (1, 3)])
    grounds, ground_colors, ground_rgb = _grounds(rng, kinds, mix, strength)
    behind = np.where((grounds == Ground.FLAT)[:, None], ground_rgb[:, 0], ground_rgb.mean(1))
    inks, ink_rgb = _inks(rng, copies > 1, behind, strength)
    filled = np.repeat(rng.random((n, 1)) < 0.5, LAYERS, 1)
    finish = np.stack(
        [
            (rng.random(n) < 0.12 * strength).astype(np.float32),
            np.where(rng.random(n) < 0.2 * strength, rng.uniform(0.02, 0.1, n), 0),
            rng.uniform(0.75, 1.2, n),
            rng.uniform(-0.1, 0.1, n),
        ],
        1,
    ).astype(np.float32)
    pattern = np.stack([rng.uniform(0, math.pi, n), rng.uniform(2.5, 9, n), rng.uniform(0, 6.28, n)], 1)
    return Scenes(
        drawings,
        kinds,
        copies,
        styles.astype(np.int8),
        inks,
        ink_rgb,
        filled,
        poses,
        grounds,
        ground_colors,
        ground_rgb,
        pattern.astype(np.float32),
        finish,
    )


def _plain_poses(rng: np.random.Generator, n: int, strength: float) -> Array:
    """Return poses (n, 4, 8) of things that fill the image, little turned."""
    poses = np.zeros((n, LAYERS, 8), np.float32)
    size = 1 - rng.random(n) * 0.45 * strength
    shift = np.clip(0.15 * strength + (1 - size), 0, 1)
    poses[:, MAIN] = _poses(rng, size, rng.uniform(-1, 1, (n, 2)) * shift[:, None], 0.26 * strength, 0.15 * strength)
    return poses


def _scattered(rng: np.random.Generator, n: int, smallest: float, largest: float) -> Array:
    """Return poses (n, 8) of things anywhere in the image, some turned far."""
    size = rng.uniform(smallest, largest, n)
    at = rng.uniform(-1, 1, (n, 2)) * (1.05 - size)[:, None]
    turned = rng.random(n)
    limit = np.where(turned < 0.7, 0.3, np.where(turned < 0.9, 1.0, math.pi))
    return _poses(rng, size, at, limit, 0.25)


def _poses(rng: np.random.Generator, size: Array, at: Array, turn: Array | float, bend: float) -> Array:
    n = len(size)
    aspect = np.exp(rng.uniform(-0.18, 0.18, n))
    angle = rng.uniform(-1, 1, n) * turn
    mirror = np.where(rng.random(n) < 0.25, -1, 1)
    bends = np.where(rng.random(n) < 0.5, rng.uniform(0, bend, n), 0)
    columns = (at[:, 0], at[:, 1], size, aspect, angle, mirror, bends, rng.uniform(0, 6.28, n))
    return np.stack(columns, 1).astype(np.float32)


def _slots(rng: np.random.Generator, n: int) -> Array:
    """Return three places (n, 3, 2) far enough from one another, in random order."""
    start = rng.random(n) * 2 * math.pi
    turns = start[:, None] + np.array([0, math.pi, math.pi / 2]) + rng.uniform(-0.35, 0.35, (n, 3))
    radius = rng.uniform(0.42, 0.6, (n, 3))
    return np.stack([np.cos(turns) * radius, np.sin(turns) * radius], 2)


def _grounds(rng: np.random.Generator, kinds: Array, mix: Mix, strength: float) -> tuple[Array, Array, Array]:
    n = len(kinds)
    plain = kinds == Kind.PLAIN
    grounds = np.where(plain, Ground.FLAT, rng.choice(len(Ground), n, p=mix.grounds)).astype(np.int8)
    share = rng.random((n, 2))
    white = share < np.where(plain, 1 - 0.4 * strength, 0.2)[:, None]
    pastel = share < np.where(plain, 1 - 0.15 * strength, 0.5)[:, None]
    colors = np.where(pastel, rng.choice(_LIGHT, (n, 2)), rng.integers(0, len(PALETTE), (n, 2)))
    colors = np.where(white, _WHITE, colors)
    same = (colors[:, 0] == colors[:, 1]) & (grounds != Ground.FLAT)
    colors[:, 1] = np.where(
        same, (colors[:, 1] + 1 + rng.integers(0, len(PALETTE) - 1, n)) % len(PALETTE), colors[:, 1]
    )
    rgb = _jittered(rng, colors)
    return grounds, colors.astype(np.int8), rgb


def _inks(rng: np.random.Generator, equal: Array, behind: Array, strength: float) -> tuple[Array, Array]:
    """Return ink colors (n, 4) and their RGB, replaced by black or white where they would not stand out."""
    n = len(equal)
    inks = np.where(rng.random((n, LAYERS)) < 0.5 * strength, rng.integers(0, len(PALETTE), (n, LAYERS)), _BLACK)
    background = (behind @ _LUMA)[:, None]
    faint = np.abs(PALETTE[inks] @ _LUMA - background) < 0.28
    inks = np.where(faint, np.where(background < 0.5, _WHITE, _BLACK), inks)
    equal = equal | (rng.random(n) < 0.5)
    inks[:, (1, 3)] = np.where(equal[:, None], inks[:, [MAIN]], inks[:, (1, 3)])
    return inks.astype(np.int8), _jittered(rng, inks)


def _jittered(rng: np.random.Generator, colors: Array) -> Array:
    rgb = PALETTE[colors]
    moved = rgb + rng.normal(0, 0.04, rgb.shape) * (colors != _WHITE)[..., None]
    return np.clip(moved, 0, 1).astype(np.float32)
