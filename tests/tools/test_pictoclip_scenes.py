from dataclasses import replace

import numpy as np
import pytest
import torch
from tools.pictoclip import scenes as composed
from tools.pictoclip.render import Atlas, dominant_colors, plain_view
from tools.pictoclip.scenes import COLOR_NAMES, LAYERS, MAIN, PALETTE, Ground, Kind, Mix, Scenes, Style, sample_scenes

CPU = torch.device("cpu")
SIDE = 36


def sample(n: int = 300, mix: Mix | None = None, strength: float = 1.0, seed: int = 0) -> Scenes:
    rng = np.random.default_rng(seed)
    others = np.arange(2 * n).reshape(n, 2) % 4
    return sample_scenes(rng, np.full(n, 5), others, np.array([False, True] * 4), mix or Mix(), strength)


def still(style: Style, x: float = 0.0, size: float = 1.0, filled: bool = True) -> Scenes:
    """Return one scene of drawing 0 in black ink on plain white, without noise."""
    poses = np.zeros((1, LAYERS, 8), np.float32)
    poses[..., 0], poses[..., 2:6] = x, (size, 1, 0, 1)
    return replace(
        sample(1),
        drawings=np.array([[-1, -1, 0, -1]]),
        styles=np.full((1, LAYERS), style),
        ink_rgb=np.zeros((1, LAYERS, 3), np.float32),
        filled=np.full((1, LAYERS), filled),
        poses=poses,
        grounds=np.array([Ground.FLAT]),
        ground_rgb=np.ones((1, 2, 3), np.float32),
        finish=np.array([[0, 0, 1, 0]], np.float32),
    )


def square(color: tuple[int, int, int] = (255, 0, 0)) -> Atlas:
    """Return an atlas of one drawing, a square over its inner half."""
    pictures = np.zeros((1, SIDE, SIDE, 4), np.uint8)
    pictures[:, 9:27, 9:27] = (*color, 255)
    return Atlas(pictures, CPU)


def drawn(scenes: Scenes, atlas: Atlas | None = None) -> torch.Tensor:
    return (atlas or square()).render(scenes, SIDE, torch.Generator().manual_seed(0))[0]


def test_scenes_are_of_every_kind() -> None:
    scenes = sample(600)
    shares = np.bincount(scenes.kinds, minlength=len(Kind)) / 600
    assert shares == pytest.approx(Mix().kinds, abs=0.06)
    things = (scenes.drawings >= 0).sum(1)
    assert (things[scenes.kinds == Kind.PLAIN] == 1).all()
    assert (things[scenes.kinds == Kind.CLUTTER] >= 2).all()
    assert (things[scenes.kinds == Kind.HIDDEN] >= 2).all()
    assert set(things[scenes.kinds == Kind.BESIDE]) == {2, 3}
    assert (scenes.drawings[:, MAIN] == 5).all()


def test_copies_are_of_the_main_thing_in_its_style() -> None:
    scenes = sample(600)
    repeated = scenes.kinds == Kind.COPIES
    assert set(scenes.copies[repeated]) == {2, 3} and (scenes.copies[~repeated] == 1).all()
    for drawings, styles, copies in zip(scenes.drawings, scenes.styles, scenes.copies, strict=True):
        if copies > 1:
            assert (drawings == 5).sum() == copies == (drawings >= 0).sum()
            assert (styles[drawings >= 0] == styles[MAIN]).all()


def test_scenes_start_gentle() -> None:
    gentle, full = (sample(500, strength=strength) for strength in (0.25, 1.0))
    assert (gentle.kinds == Kind.PLAIN).mean() > (full.kinds == Kind.PLAIN).mean() + 0.2
    strengths = [composed.strength_at(progress) for progress in (0, 0.05, 0.15, 1)]
    assert strengths == sorted(strengths) and strengths[-1] == 1


def test_equal_seeds_give_equal_scenes() -> None:
    first, again, other = sample(seed=1), sample(seed=1), sample(seed=2)
    assert np.array_equal(first.poses, again.poses) and np.array_equal(first.styles, again.styles)
    assert not np.array_equal(first.poses, other.poses)


def test_ink_stands_out() -> None:
    scenes = sample(500, Mix(grounds=(1, 0, 0, 0, 0, 0)))
    luma = np.array([0.299, 0.587, 0.114])
    distance = np.abs(scenes.ink_rgb[:, MAIN] @ luma - scenes.ground_rgb[:, 0] @ luma)
    assert (distance > 0.1).all()
    assert len(set(scenes.inks[:, MAIN])) > 10


def test_drawings_of_one_color_are_drawn_in_ink() -> None:
    assert (sample().styles[:, MAIN] == Style.INK).all()


def test_a_thing_is_where_its_pose_says() -> None:
    image = drawn(still(Style.DRAWN))
    assert image.shape == (3, SIDE, SIDE)
    assert image[:, 18, 18].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
    assert image[:, 2, 2].tolist() == [1, 1, 1]
    moved = drawn(still(Style.DRAWN, x=0.5, size=0.5))
    red = (moved[1] < 0.5).nonzero()
    assert red[:, 1].min() >= 21 and red[:, 1].max() <= 32, "a quarter of the image around three quarters across"
    assert 60 < len(red) < 110


def test_styles() -> None:
    assert drawn(still(Style.GRAY))[:, 18, 18].tolist() == pytest.approx([0.299] * 3, abs=1e-3)
    assert drawn(still(Style.SHUFFLED))[:, 18, 18].tolist() == pytest.approx([0, 1, 0], abs=1e-3)
    assert drawn(still(Style.INK))[:, 18, 18].tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert drawn(still(Style.GLYPH))[:, 18, 18].tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert drawn(still(Style.GLYPH, filled=False), square((255, 255, 200)))[:, 18, 18].min() > 0.9
    lines = drawn(still(Style.LINE))
    assert lines[:, 18, 9].max() < 0.1 and lines[:, 18, 18].min() == 1
    tinted = replace(still(Style.TINT), ink_rgb=np.tile(np.float32([0, 0, 1]), (1, LAYERS, 1)))
    assert drawn(tinted)[2, 18, 18] == pytest.approx(1, abs=1e-3)


def test_front_things_hide_what_is_behind() -> None:
    pictures = np.concatenate([np.full((1, 8, 8, 4), (255, 0, 0, 255)), np.full((1, 8, 8, 4), (0, 0, 255, 255))])
    atlas = Atlas(pictures.astype(np.uint8), CPU)
    scenes = replace(still(Style.DRAWN), drawings=np.array([[-1, -1, 0, 1]]))
    assert drawn(scenes, atlas)[:, 18, 18].tolist() == [0, 0, 1]


@pytest.mark.parametrize("ground", list(Ground))
def test_backgrounds_lie_between_their_colors(ground: Ground) -> None:
    rgb = np.float32([[[1, 0, 0], [0, 0, 1]]])
    empty = replace(still(Style.DRAWN), drawings=np.full((1, LAYERS), -1), grounds=np.array([ground]), ground_rgb=rgb)
    image = drawn(empty)
    assert image[1].max() == 0
    torch.testing.assert_close(image[0] + image[2], torch.ones(SIDE, SIDE))
    if ground == Ground.FLAT:
        assert image[0].min() == 1
    else:
        assert image[0].max() - image[0].min() > 0.3


def test_finish() -> None:
    sharp = drawn(still(Style.DRAWN))
    blurred = drawn(replace(still(Style.DRAWN), finish=np.float32([[1, 0, 1, 0]])))
    assert blurred.diff(dim=2).abs().max() < sharp.diff(dim=2).abs().max()
    noisy = drawn(replace(still(Style.INK), finish=np.float32([[0, 0.1, 0.8, 0]])))
    assert noisy[:, 10:26, 10:26].std() > 0.05
    assert noisy.min() >= 0 and noisy.max() <= 1


def test_rendering_repeats() -> None:
    scenes = sample(30)
    atlas = Atlas(np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 4), dtype=np.uint8), CPU)
    first, again = (atlas.render(scenes, 32, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (30, 3, 32, 32)


def test_dominant_colors() -> None:
    colors = ("red", "light blue", "white", "black")
    pictures = np.full((5, 9, 9, 4), 255, np.uint8)
    for i, name in enumerate(colors):
        pictures[i, ..., :3] = 255 * PALETTE[COLOR_NAMES.index(name)]
    pictures[4, ..., :3] = (0, 255, 0)
    found = dominant_colors(pictures, np.arange(5), PALETTE)
    assert [COLOR_NAMES[i] for i in found[:4]] == list(colors)
    assert found[4] == -1, "no color of the palette is pure green"


def test_a_plain_view_is_the_drawing_on_white() -> None:
    picture = np.zeros((1, SIDE, SIDE, 4), np.uint8)
    picture[:, 9:27, 9:27] = (255, 0, 0, 255)
    view = plain_view(picture, 32)
    assert view.shape == (1, 3, 32, 32)
    assert view[0, :, 0, 0].tolist() == [1, 1, 1]
    assert view[0, :, 16, 16].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
