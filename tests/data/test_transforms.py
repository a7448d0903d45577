import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms import functional as tv

from vlprompt.data import transforms
from vlprompt.data.images import read_image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
RECORDED = load_file(Path(__file__).parents[1] / "golden" / "test_transform.safetensors")


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    return Image.fromarray(torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())


def pixels(normalized: Tensor) -> Tensor:
    return normalized * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


@pytest.mark.parametrize("case", range(4))
def test_eval_transform_matches_recorded_outputs(case: int) -> None:
    image = Image.fromarray(RECORDED[f"image{case}"].numpy())
    result = transforms.eval_transform(64, MEAN, STD)(image, random.Random(0))
    assert (pixels(result) - pixels(RECORDED[f"output{case}"])).abs().max() < 2 / 255


@given(st.integers(1, 150), st.integers(1, 150), st.integers(4, 48))
@settings(max_examples=60, deadline=None)
def test_eval_transform_matches_torchvision(width: int, height: int, size: int) -> None:
    image = random_image(width, height)
    resized = tv.resize(image, [size], tv.InterpolationMode.BICUBIC)
    expected = tv.normalize(tv.to_tensor(tv.center_crop(resized, [size, size])), list(MEAN), list(STD))
    result = transforms.eval_transform(size, MEAN, STD)(image, random.Random(0))
    if max(width, height) <= 16 * min(width, height):
        assert torch.allclose(result, expected, atol=1e-5)
    else:
        assert result.shape == expected.shape


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 64), st.integers())
@settings(max_examples=60, deadline=None)
def test_extreme_image_shapes(width: int, height: int, size: int, seed: int) -> None:
    image = Image.new("RGB", (width, height), "white")
    for transform in (transforms.eval_transform(size, MEAN, STD), transforms.train_transform(size, MEAN, STD)):
        result = transform(image, random.Random(seed))
        assert result.shape == (3, size, size)
        assert result.dtype == torch.float32
        assert torch.allclose(pixels(result), torch.ones(()), atol=1e-5)


def test_very_thin_image_uses_little_memory() -> None:
    result = transforms.eval_transform(224, MEAN, STD)(Image.new("RGB", (60_000, 1)), random.Random(0))
    assert result.shape == (3, 224, 224)


def test_train_transform_depends_only_on_its_rng() -> None:
    transform, image = transforms.train_transform(32, MEAN, STD), random_image(60, 50)
    one = transform(image, random.Random(1))
    random.seed(5)
    torch.manual_seed(5)
    assert torch.equal(one, transform(image, random.Random(1)))
    assert not torch.equal(one, transform(image, random.Random(2)))


def test_fallback_to_largest_central_crop() -> None:
    rng = random.Random(0)
    assert transforms._random_box(400, 10, (1.0, 1.0), rng) == (193, 0, 206, 10)
    assert transforms._random_box(10, 400, (1.0, 1.0), rng) == (0, 193, 10, 206)


@given(st.integers(8, 400), st.integers(8, 400), st.integers(), st.floats(0.05, 1), st.floats(0.05, 1))
def test_crop_area_and_ratio(width: int, height: int, seed: int, one: float, other: float) -> None:
    scale = (min(one, other), max(one, other))
    left, top, right, bottom = transforms._random_box(width, height, scale, random.Random(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if 0.6 < width / height < 1.6 and scale[1] < 0.5 and min(right - left, bottom - top) > 20:  # no fallback
        assert scale[0] * 0.85 < (right - left) * (bottom - top) / (width * height) < scale[1] * 1.15
        assert 0.65 < (right - left) / (bottom - top) < 1.5


def test_half_of_the_images_are_flipped() -> None:
    image = Image.new("RGB", (2, 2))
    image.putpixel((0, 0), (255, 255, 255))
    image.putpixel((0, 1), (255, 255, 255))
    transform = replace(transforms.train_transform(2, (0, 0, 0), (1, 1, 1)), crop_scale=(1.0, 1.0))
    flipped = 0
    for seed in range(400):
        result = transform(image, random.Random(seed))
        flipped += bool(result[0, 0, 1] > result[0, 0, 0])
    assert math.isclose(flipped, 200, abs_tol=50)


def test_normalization_is_per_channel() -> None:
    result = transforms.eval_transform(2, (0, 0.5, 1), (1, 2, 4))(Image.new("RGB", (2, 2), "white"), random.Random(0))
    assert result[:, 0, 0].tolist() == [1.0, 0.25, 0.0]
    with pytest.raises(ValueError, match="unpack"):
        transforms.eval_transform(2, (0, 0), (1, 1))


def test_squash_keeps_the_edges() -> None:
    image = Image.new("RGB", (60, 20), "white")
    image.paste("black", (0, 0, 10, 20))
    squashed = transforms.eval_transform(8, (0, 0, 0), (1, 1, 1), squash=True, interpolation="bilinear")(image)
    cropped = transforms.eval_transform(8, (0, 0, 0), (1, 1, 1))(image)
    assert squashed.shape == cropped.shape == (3, 8, 8)
    assert squashed[:, :, 0].max() < 0.2
    assert cropped.min() > 0.9


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_photograph_reduced_to_the_size_that_is_needed_looks_the_same(suffix: str, tmp_path: Path) -> None:
    photograph = random_image(12, 9).resize((2003, 1501), Image.Resampling.BICUBIC)
    photograph.save(path := tmp_path / f"photograph.{suffix}", quality=95)
    half = (0.5, 0.5, 0.5)
    cut = transforms.eval_transform(96, half, half), transforms.train_transform(96, half, half)
    for transform, longest in zip(cut, (501, 1002), strict=True):
        small = read_image(path, side=transform.side)
        assert max(small.size) == longest
        for seed in range(3):
            views = [transform(image, random.Random(seed)) for image in (read_image(path), small)]
            assert 127.5 * (views[0] - views[1]).abs().mean() < 1  # of 255
