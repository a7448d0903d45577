"""The backbone `photos`, as a tiny random model of the same construction: every method, command and export."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from fastapi.testclient import TestClient

from tests.helpers.command_line import Call
from tests.helpers.tiny_photos import tiny_photos
from vlprompt import METHODS, VLPromptError, create_method, list_methods, load_backbone, load_classifier
from vlprompt.backbones.backbone import Backbone
from vlprompt.serve.app import create_app
from vlprompt.serve.limits import Limits
from vlprompt.serve.service import Service

WORKING = ["zero-shot", "linear-probe", "tip-adapter", "tip-adapter-f", "coop", "kgcoop", "prograd", "e2mim", "cocoop"]
NAMES = ["red apple", "blue sky", "green leaf", "night"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vocabulary")


@pytest.fixture(autouse=True)
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the packages of the extra `photos`."""
    monkeypatch.setattr("vlprompt.backbones.sources.load.load_photos", lambda: tiny_photos(folder))
    monkeypatch.setattr("vlprompt.backbones.sources.automatic.photos_installed", lambda: True)


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone("photos", device="cpu")


@pytest.fixture
def tune(call: Call, pictures: Path, tmp_path: Path) -> Callable[..., Path]:
    """Tune on the pictures with few steps; return the run folder."""

    def run(method: str | None, *options: str) -> Path:
        out = tmp_path / "run"
        words = ["tune", pictures, "--shots", "2", "--device", "cpu", "--out", out, *options]
        words += ["--method", method] if method else []
        words += ["--set", "optim.epochs=1", "--set", "data.views=1"]
        code, _, err = call(*words)
        assert code == 0, err
        return out

    return run


@pytest.mark.parametrize("method", [*WORKING, "dapt"])
def test_every_method_without_visual_prompts_is_tuned(method: str, tune: Callable[..., Path]) -> None:
    record = json.loads((tune(method) / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["config"]["recipe"] == "photos"
    assert record["config"]["backbone"]["source"] == "photos"


def test_methods_with_visual_prompts_name_those_that_work(backbone: Backbone) -> None:
    others = [name for name in list_methods() if name not in WORKING]
    assert {"vpt", "ivlp", "maple", "mudpt", "promptsrc", "clip-lora", "dapt"} <= set(others)
    for name in others:
        with pytest.raises(VLPromptError) as caught:
            create_method(name, backbone, NAMES)
        assert "\n" not in str(caught.value)
        assert set(re.findall(r"[a-z0-9-]+", str(caught.value).rpartition("use one of")[2])) >= set(WORKING)
        assert ("n_visual=0" in str(caught.value)) == (name == "dapt")


def test_a_name_of_unknown_words_is_said(backbone: Backbone, caplog: pytest.LogCaptureFixture) -> None:
    create_method("coop", backbone, ["red apple", "zzz"])
    assert "the model knows no word of 'zzz'" in caplog.text
    with pytest.raises(VLPromptError, match="reads as the same text"):
        create_method("coop", backbone, ["zzz", "yyy"])


def test_learned_context_changes_the_features_of_all_classes(backbone: Backbone) -> None:
    method = create_method("coop", backbone, NAMES, n_ctx=3)
    features, labels = torch.randn(8, backbone.embed_dim), torch.arange(8) % 4
    method.backward(method.loss(method(features), labels))
    assert method.text_context.grad.abs().min() > 0
    before = method.text_features().detach()
    method.text_context.data += method.text_context.grad
    assert (method.text_features() - before).norm(dim=1).min() > 0


def test_a_run_is_used_like_any_other(tune: Callable[..., Path], call: Call, pictures: Path, tmp_path: Path) -> None:
    run = tune(None)
    record = json.loads((run / "run.json").read_text())
    assert METHODS.get(record["config"]["method"]["name"]).name in WORKING
    images = sorted(pictures.rglob("*.png"))[:5]
    classifier = load_classifier(run, device="cpu")
    pixels = torch.stack([classifier.pixels(path) for path in images])
    probabilities = (classifier.logits(pixels) / classifier.temperature).softmax(1).numpy()
    for words in (["predict", run, *images], ["evaluate", run, pictures], ["info", run], ["inspect", run]):
        code, _, err = call(*words)
        assert code == 0, err
    service = Service(classifier, Limits(), editable=True)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        encoded = base64.b64encode(images[0].read_bytes()).decode()
        answer = client.post("/v1/predict", json={"image": encoded}).json()["results"][0]
        assert client.get("/").status_code == 200
    service.close()
    assert answer["label"] == classifier.predict(images[0])[0].label
    code, _, err = call("export", run, "--out", tmp_path / "model.onnx")
    assert code == 0, err
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    exported = session.run(["probabilities"], {"pixels": pixels.numpy()})[0]
    np.testing.assert_allclose(exported, probabilities, atol=1e-4)


def test_inspect_says_what_it_cannot_look_at(tune: Callable[..., Path], call: Call) -> None:
    code, out, _ = call("inspect", tune("coop"), "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == 0
    assert "does not pool a single token" in found["left_out"]["text attention"]
    assert found["norms"]["text"][0]["tokens"] is not None
