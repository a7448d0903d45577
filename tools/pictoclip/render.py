"""Draw scenes on the training device, a batch at a time."""

from functools import lru_cache

import numpy as np
import torch
from tools.pictoclip.corpus import Pictures
from tools.pictoclip.model import MEAN, STD
from tools.pictoclip.scenes import LAYERS, Array, Scenes, Style
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)
_SMALL = 0.5  # things smaller than this share of the image are drawn from a copy of half the resolution
_CHUNK = 4096


class Atlas:
    """The drawings on a device: premultiplied RGBA (N, 4, R, R), as bytes."""

    def __init__(self, pictures: Pictures, device: torch.device) -> None:
        n, side = pictures.shape[:2]
        self.pictures = torch.empty(n, 4, side, side, dtype=torch.uint8, device=device)
        for start in range(0, n, _CHUNK):
            part = torch.from_numpy(pictures[start : start + _CHUNK]).to(device).permute(0, 3, 1, 2).int()
            part[:, :3] = (part[:, :3] * part[:, 3:] + 127) // 255
            self.pictures[start : start + _CHUNK] = part
        self.device = device

    def render(self, scenes: Scenes, size: int, rng: torch.Generator) -> Tensor:
        """Return images (B, 3, size, size) in 0..1; `rng`, on the atlas' device, makes the noise alone."""
        canvas = _backgrounds(scenes, size, rng, self.device)
        layers, rows = np.nonzero(scenes.drawings.T >= 0)
        things = self._things(scenes, rows, layers, canvas)
        for layer in range(LAYERS):
            here = slice(*np.searchsorted(layers, (layer, layer + 1)))
            at, thing = sent(rows[here], self.device), things[here]
            canvas[at] = thing[:, :3] + (1 - thing[:, 3:]) * canvas[at]
        return _finished(canvas, scenes, rng)

    def _things(self, scenes: Scenes, rows: Array, layers: Array, canvas: Tensor) -> Tensor:
        """Return the things at (rows, layers), each (T,), in style and place: premultiplied (T, 4, size, size)."""
        x = self.pictures[sent(scenes.drawings[rows, layers], self.device)].to(canvas.dtype) / 255
        inks, filled = scenes.ink_rgb[rows, layers], scenes.filled[rows, layers]
        x = _styled(x, scenes.styles[rows, layers], _moved(inks, canvas), _moved(filled, canvas))
        poses = scenes.poses[rows, layers]
        grid = _grid(_moved(poses, canvas), canvas)
        things = x.new_empty(len(x), 4, *canvas.shape[2:])
        small = poses[:, 2] < _SMALL
        for some, halved in ((~small, False), (small, True)):
            if some.any():
                at = sent(np.flatnonzero(some), self.device)
                source = F.avg_pool2d(x[at], 2) if halved else x[at]
                things[at] = F.grid_sample(source, grid[at], align_corners=False)
        return things


def normalize(images: Tensor) -> Tensor:
    """Normalize images (B, 3, S, S) in 0..1 with CLIP's mean and standard deviation."""
    return (images - _channels(MEAN, images.device, images.dtype)) / _channels(STD, images.device, images.dtype)


def plain_view(pictures: Pictures, size: int) -> Tensor:
    """Resize RGBA drawings (B, R, R, 4) on white to (B, 3, size, size) in 0..1, as evaluation uses them."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    flat = x[:, :3] * x[:, 3:] + (1 - x[:, 3:])
    return F.interpolate(flat, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def dominant_colors(pictures: Pictures, chosen: Array, palette: Array, furthest: float = 0.24) -> Array:
    """Return the color (n,) in `palette` (C, 3) that the mean of a chosen drawing is close to, -1 where none is."""
    found = []
    for start in range(0, len(chosen), _CHUNK):
        part = pictures[chosen[start : start + _CHUNK], ::3, ::3].astype(np.float32) / 255
        alpha = part[..., 3:]
        mean = (part[..., :3] * alpha).sum((1, 2)) / np.maximum(alpha.sum((1, 2)), 1e-6)
        distance = np.linalg.norm(mean[:, None] - palette, axis=2)
        found.append(np.where(distance.min(1) < furthest, distance.argmin(1), -1))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def sent(array: Array, device: torch.device) -> Tensor:
    """Copy an array to the device, which does not have to wait for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _moved(values: Array, like: Tensor) -> Tensor:
    return sent(values, like.device).to(like.dtype)


@lru_cache
def _channels(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a constant (3, 1, 1); creating it anew would make the host wait for the GPU."""
    return torch.tensor(values, device=device, dtype=dtype).view(3, 1, 1)


def _styled(x: Tensor, styles: Array, inks: Tensor, filled: Tensor) -> Tensor:
    """Convert premultiplied drawings (n, 4, R, R) to their styles (n,), with inks (n, 3) and `filled` (n,) 0 or 1."""
    for style in range(1, len(Style)):
        rows = np.flatnonzero(styles == style)
        if len(rows):
            at = sent(rows, x.device)
            x[at] = _as_style(x[at], Style(style), inks[at, :, None, None], filled[at, None, None, None])
    return x


def _as_style(x: Tensor, style: Style, ink: Tensor, filled: Tensor) -> Tensor:
    color, alpha = x[:, :3], x[:, 3:]
    if style == Style.SHUFFLED:
        return torch.cat([color.roll(1, 1), alpha], 1)
    if style == Style.INK:
        return torch.cat([ink * alpha, alpha], 1)
    luma = (color * _channels(_LUMA, x.device, x.dtype)).sum(1, keepdim=True)
    if style == Style.GRAY:
        return torch.cat([luma.expand(-1, 3, -1, -1), alpha], 1)
    if style == Style.TINT:
        return torch.cat([ink * alpha + (1 - ink) * luma, alpha], 1)
    if style == Style.GLYPH:  # a silhouette, or without what is bright
        covered = alpha * torch.maximum(torch.sigmoid((0.55 - (luma + 1 - alpha)) * 14), filled)
        return torch.cat([ink * covered, covered], 1)
    planes = torch.cat([color + 1 - alpha, alpha], 1)
    across = (planes[:, :, 1:-1, 2:] - planes[:, :, 1:-1, :-2]).abs()
    down = (planes[:, :, 2:, 1:-1] - planes[:, :, :-2, 1:-1]).abs()
    edges = F.pad((1.9 * (across + down).amax(1, keepdim=True)).clamp(0, 1), (1, 1, 1, 1))
    covered = torch.maximum(edges, filled * alpha)  # white inside, or see-through
    return torch.cat([ink * edges + (covered - edges), covered], 1)


def _grid(poses: Tensor, like: Tensor) -> Tensor:
    """Return where in the drawing (n, S, S, 2) each pixel of the image lies."""
    x, y, size, aspect, angle, mirror, bend, phase = poses[:, :, None, None].unbind(1)
    across, down = _coordinates(like)
    across, down = across - x, down - y
    cos, sin = angle.cos() / size, angle.sin() / size
    u, v = (cos * across + sin * down) / aspect * mirror, (cos * down - sin * across) * aspect
    u = u + bend * torch.sin(2.2 * v + phase)
    v = v + bend * torch.sin(2.2 * u + 1.7 * phase)
    return torch.stack([u, v], 3)


def _coordinates(like: Tensor) -> tuple[Tensor, Tensor]:
    size = like.shape[-1]
    steps = (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1
    return steps[None, None, :], steps[None, :, None]


def _backgrounds(scenes: Scenes, size: int, rng: torch.Generator, device: torch.device) -> Tensor:
    """Return images (B, 3, size, size) of the backgrounds, in half precision where that is fast."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    n = len(scenes)
    like = torch.empty(n, 1, size, size, device=device, dtype=dtype)
    colors = _moved(scenes.ground_rgb, like)[..., None, None]
    angle, frequency, phase = _moved(scenes.pattern, like)[:, :, None, None].unbind(1)
    across, down = _coordinates(like)
    u = across * angle.cos() + down * angle.sin()
    v = down * angle.cos() - across * angle.sin()
    waves, cross = torch.sin(frequency * u + phase), torch.sin(frequency * v + phase)
    kinds = _moved(scenes.grounds, like)[:, None, None]
    patterns = (torch.sigmoid(12 * waves), torch.sigmoid(12 * waves * cross), torch.sigmoid(12 * (waves + cross - 0.8)))
    mixed = torch.where(kinds == 0, 0 * u, (0.75 * u + 0.5).clamp(0, 1))
    for kind, pattern in enumerate((*patterns, _clouds(n, size, rng, like)), start=2):
        mixed = torch.where(kinds == kind, pattern, mixed)
    return colors[:, 0] + mixed[:, None] * (colors[:, 1] - colors[:, 0])


def _clouds(n: int, size: int, rng: torch.Generator, like: Tensor) -> Tensor:
    """Return smooth noise (n, size, size) in 0..1 of three scales."""
    total = torch.zeros_like(like)
    for cells, share in ((3, 0.6), (7, 0.4), (16, 0.25)):
        noise = torch.rand(n, 1, cells, cells, generator=rng, device=like.device).to(like.dtype)
        total += share * F.interpolate(noise - 0.5, (size, size), mode="bilinear")
    return (1.6 * total[:, 0] + 0.5).clamp(0, 1)


def _finished(images: Tensor, scenes: Scenes, rng: torch.Generator) -> Tensor:
    """Blur some, add noise, change contrast and brightness."""
    blurred = np.flatnonzero(scenes.finish[:, 0] > 0)
    size = images.shape[-1]
    if len(blurred):
        at = sent(blurred, images.device)
        images[at] = F.interpolate(F.avg_pool2d(images[at], 2), (size, size), mode="bilinear")
    _, noise, contrast, brightness = _moved(scenes.finish, images)[:, :, None, None, None].unbind(1)
    grain = torch.randn(images.shape, generator=rng, device=images.device, dtype=images.dtype)
    return ((images - 0.5) * contrast + 0.5 + brightness + noise * grain).clamp(0, 1)
