"""Random views of a drawing: position, colors, background, and conversions to line art.

All shares are of views at full strength; the strength grows from `_GENTLEST` to 1 over the curriculum.
"""

import math
from dataclasses import dataclass

import torch
from tools.pictoclip.model import MEAN, STD
from torch import Tensor
from torch.nn import functional as F

_GENTLEST = 0.25
_CURRICULUM = 0.15
_ROTATION, _SHIFT, _SHRINK, _ASPECT = math.radians(15), 0.15, 0.45, 0.1
_TINTED, _PASTEL = 0.15, 0.25
_COLORED_INK = 0.5
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Styles:
    """Shares of views: colored drawings in `gray`, in one `ink`, as `lines`; one-color ones as `solid_lines`."""

    gray: float = 0.12
    ink: float = 0.0
    lines: float = 0.18
    solid_lines: float = 0.0


def strength_at(progress: float) -> float:
    """Return the strength of augmentation after `progress` (0 to 1) of the budget."""
    return min(1.0, _GENTLEST + progress / _CURRICULUM)


def normalize(images: Tensor) -> Tensor:
    """Normalize images (B, 3, S, S) in 0..1 with CLIP's mean and standard deviation."""
    return (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)


def plain_view(pictures: Tensor, size: int) -> Tensor:
    """Resize RGBA drawings (B, R, R, 4) uint8 on white to (B, 3, size, size) in 0..1, as evaluation uses them."""
    color, alpha = _premultiplied(pictures)
    flat = color + (1 - alpha)
    return F.interpolate(flat, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def random_views(
    pictures: Tensor, monochrome: Tensor, size: int, strength: float, styles: Styles, rng: torch.Generator
) -> Tensor:
    """Augment RGBA drawings (B, R, R, 4) uint8 to (B, 3, size, size) in 0..1.

    `monochrome` (B,) marks sets drawn in one color, which may be recolored.
    """
    n = len(pictures)

    def uniform(low: float = 0.0, high: float = 1.0, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(n, channels, 1, 1, generator=rng)

    mono = monochrome.view(n, 1, 1, 1)
    color, alpha = _moved(pictures, size, strength, rng)

    kind = uniform()
    white, pastel = kind < 1 - (_TINTED + _PASTEL) * strength, kind < 1 - _TINTED * strength
    background = torch.where(pastel, uniform(0.65, 1, channels=3), uniform(channels=3))
    background = torch.where(white, 1.0, background)
    ink = torch.where(uniform() < _COLORED_INK * strength, uniform(0, 0.6, channels=3), 0.0)
    dark = background.mean(1, keepdim=True) < 0.5
    color = torch.where(mono, torch.where(dark, 1 - ink / 2, ink) * alpha, color)
    views = color + (1 - alpha) * background

    luma = (views * views.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    share = uniform()
    views = torch.where((share < styles.gray) & ~mono, luma, views)
    inked = (share >= styles.gray) & (share < styles.gray + styles.ink) & ~mono
    level, softness = uniform(0.35, 0.65), uniform(8, 20)
    views = torch.where(inked, torch.sigmoid((luma - level) * softness), views)
    edged = (share > 1 - torch.where(mono, styles.solid_lines, styles.lines)).flatten().nonzero().flatten()
    if len(edged):
        gain = uniform(1.2, 2.6)[edged]
        views[edged] = _line_art(color[edged], alpha[edged], gain)

    contrast, brightness = uniform(0.8, 1.2), uniform(-0.08, 0.08)
    return (views * contrast + brightness).clamp(0, 1)


def _premultiplied(pictures: Tensor) -> tuple[Tensor, Tensor]:
    x = pictures.permute(0, 3, 1, 2).float() / 255
    alpha = x[:, 3:]
    return x[:, :3] * alpha, alpha


def _moved(pictures: Tensor, size: int, strength: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotate, shrink, stretch and shift; return premultiplied color (B, 3, S, S) and alpha (B, 1, S, S)."""
    n = len(pictures)

    def spread(limit: float) -> Tensor:
        return (torch.rand(n, generator=rng) * 2 - 1) * limit * strength

    angle, dx, dy, aspect = spread(_ROTATION), spread(_SHIFT), spread(_SHIFT), 1 + spread(_ASPECT)
    scale = 1 / (1 - torch.rand(n, generator=rng) * _SHRINK * strength)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [torch.stack([cos * aspect, -sin, dx * scale], 1), torch.stack([sin, cos / aspect, dy * scale], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 4, size, size], align_corners=False)
    moved = F.grid_sample(torch.cat(_premultiplied(pictures), 1), grid, align_corners=False)
    return moved[:, :3], moved[:, 3:]


def _line_art(color: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Draw black lines (B, 1, S, S), about two pixels thick, on white where color or coverage changes."""
    planes = torch.cat([color + (1 - alpha), alpha], 1)
    across = (planes[:, :, 1:-1, 2:] - planes[:, :, 1:-1, :-2]).abs()
    down = (planes[:, :, 2:, 1:-1] - planes[:, :, :-2, 1:-1]).abs()
    edges = (across + down).amax(1, keepdim=True) * gain
    return 1 - F.pad(edges, (1, 1, 1, 1)).clamp(0, 1)
