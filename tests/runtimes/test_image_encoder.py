"""Views of training images encoded by OpenVINO: features, runs that learn from them, and errors."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

import vlprompt
from tests.helpers.reporters import Written
from vlprompt import VLPromptError, load_backbone
from vlprompt.backbones.backbone import Backbone
from vlprompt.config.resolve import resolve_config
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord
from vlprompt.runtimes import exported_model, image_encoder
from vlprompt.runtimes.image_encoder import COMPARED, ImageEncoder, check_encoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backbone(weights: Path) -> Backbone:
    return load_backbone(str(weights), device="cpu")


@pytest.fixture(scope="module")
def pixels(backbone: Backbone) -> Tensor:
    return torch.randn(9, 3, backbone.image_size, backbone.image_size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def run(backbone: Backbone, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))

    def learned(name: str, **settings: Any) -> RunRecord:
        values = {
            "data.views": 2,
            "data.shots": 2,
            "optim.epochs": 2,
            "optim.batch_size": 4,
            "data.view_precision": "int8",
        }
        values |= {"data.source": str(pictures), **{key.replace("__", "."): settings[key] for key in settings}}
        config = resolve_config(method="coop", settings={"backbone.source": backbone.source, **values})
        return run_experiment(config, tmp_path / name, reporter=reporter, backbone=backbone)

    reporter = learned.reporter = Written()  # type: ignore[attr-defined]
    return learned


@pytest.mark.parametrize(("precision", "close"), [("bf16", 0.999), ("int8", 0.99)])
def test_features_are_close_to_pytorch(backbone: Backbone, pixels: Tensor, precision: str, close: float) -> None:
    encoder = ImageEncoder(backbone, precision, Written())
    exact, found = backbone.encode_image(pixels), encoder(pixels)
    assert found.dtype == torch.float32
    assert encoder.cosine == pytest.approx(float(cosine_similarity(found, exact)[:COMPARED].min()))
    assert encoder.cosine > close
    assert not torch.allclose(found, exact, atol=1e-6), "it is not PyTorch's fp32"
    with ThreadPoolExecutor(3) as pool:
        single = torch.cat(list(pool.map(encoder, pixels.split(1))))
    assert torch.allclose(single, found, atol=1e-4)


def test_a_backbone_is_converted_once(backbone: Backbone, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ImageEncoder(backbone, "int8", Written())(pixels)
    monkeypatch.setattr(image_encoder, "_convert", lambda *_: pytest.fail("converted again"))
    assert torch.equal(ImageEncoder(backbone, "int8", Written())(pixels), first)


def test_features_far_from_pytorch_are_refused(weights: Path, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    other = load_backbone(str(weights), device="cpu")
    monkeypatch.setattr(
        image_encoder, "_convert", lambda *_: lambda array: [-other.encode_image(torch.from_numpy(array)).numpy()]
    )
    with pytest.raises(VLPromptError, match=r"^data\.view_precision=int8: features of .* have a cosine of -1\.00 to"):
        ImageEncoder(other, "int8", Written())(pixels)


def test_views_are_encoded_by_openvino_and_tests_by_pytorch(run: Any, tmp_path: Path, pictures: Path) -> None:
    quantized, exact = run("int8"), run("fp32", data__view_precision=None)
    assert len([line for line in run.reporter.lines if line.startswith("OpenVINO encodes views in int8")]) == 1
    assert quantized.training_hash != exact.training_hash
    first, second = (vlprompt.load_classifier(tmp_path / name, device="cpu") for name in ("int8", "fp32"))
    ours, theirs = (torch.cat([v.flatten() for v in one.method.state_dict().values()]) for one in (first, second))
    assert not torch.equal(ours, theirs)
    assert torch.allclose(ours, theirs, atol=1e-2)
    measured = first.evaluate(str(pictures), quiet=True)
    for name in ("accuracy", "calibration_error"):
        assert measured[name] == pytest.approx(quantized.metrics["test"][name], abs=1e-4)


def test_cached_views_need_no_conversion(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("first")
    monkeypatch.setattr(image_encoder, "_converted", {})
    monkeypatch.setattr(image_encoder, "_convert", lambda *_: pytest.fail("converted although everything is cached"))
    run("second")
    first, second = ((tmp_path / name / "prompts.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_wrong_settings_are_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def error(**settings: Any) -> str:
        with pytest.raises(VLPromptError) as caught:
            run("wrong", **settings)
        return str(caught.value)

    assert error(data__views=0) == "data.view_precision must be left out with data.views=0, got 'int8'"
    assert "data.view_precision" in error(data__view_precision="fp16")
    assert error(backbone__precision="bf16") == (
        "data.view_precision=int8 needs backbone.precision=fp32, got bf16; leave one of them out"
    )
    with pytest.raises(VLPromptError, match="is for CPUs, got device cuda; leave it out"):
        check_encoder("int8", "fp32", torch.device("cuda"))
    there = importlib.util.find_spec
    monkeypatch.setattr(exported_model, "find_spec", lambda name: None if name == "nncf" else there(name))
    assert error() == 'openvino needs nncf: pip install "vlprompt[openvino]"'
