"""Tiny CLIP models to save and load."""

import pytest

from tests.helpers.tiny_clip import Tiny, tiny


@pytest.fixture(scope="session")
def tiny_vit() -> Tiny:
    return tiny({"image_size": 32, "patch_size": 8, "width": 128, "layers": 2})


@pytest.fixture(scope="session")
def tiny_resnet() -> Tiny:
    return tiny({"image_size": 64, "layers": (1, 1, 1, 1), "width": 8})


@pytest.fixture(scope="session", params=["vit", "resnet"])
def tiny_clip(request: pytest.FixtureRequest) -> Tiny:
    """Parametrize over both models."""
    made: Tiny = request.getfixturevalue(f"tiny_{request.param}")
    return made


@pytest.fixture(scope="session")
def gelu_clip() -> Tiny:
    """A model with GELU and narrow heads, which a state dict does not record."""
    vision = {"image_size": 32, "patch_size": 8, "width": 96, "head_width": 32, "layers": 2, "mlp_ratio": 3.1}
    return tiny(vision, quick_gelu=False, text={"width": 64, "heads": 4, "layers": 1, "context_length": 20})
