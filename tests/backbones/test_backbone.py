"""`list_backbones`, `repr`, and the checks of device and precision."""

from pathlib import Path

import pytest

from vlprompt import VLPromptError, list_backbones, load_backbone


def test_listed_backbones_are_loadable() -> None:
    names = list_backbones()
    assert names[:2] == ["photos", "embedded"]
    assert "ViT-B-16/openai" in names
    assert not any(name.startswith("coca") for name in names)


def test_repr(weights: Path) -> None:
    assert repr(load_backbone(weights, device="cpu")) == "Backbone('tiny', precision='fp32', device='cpu')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "`device` must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ({"precision": "fp8"}, "`precision` must be one of fp32, tf32, bf16, fp16, got 'fp8'"),
        ({"precision": "tf32"}, "`precision` tf32 is a mode of CUDA devices, got device cpu; use fp32"),
    ],
)
def test_invalid_devices_and_precisions(options: dict[str, str], message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        load_backbone("embedded", **options)  # type: ignore[arg-type]
