"""Every source loads the saved model, with equal features to 1e-6."""

import hashlib
import json
import logging
import pickle
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.helpers.tiny_clip import Tiny
from vlprompt.backbones.sources import assets
from vlprompt.backbones.sources import open_clip as pretrained
from vlprompt.backbones.sources.load import load_model
from vlprompt.errors import VLPromptError

GOLDEN = Path(__file__).parents[2] / "golden"


def openai_archive(weights: Mapping[str, Tensor], path: Path) -> None:
    """Save a TorchScript archive like OpenAI's, with three numbers as buffers and code that must not run."""

    class Node(nn.Module):
        sizes: list[int]

        def __init__(self) -> None:
            super().__init__()
            self.sizes, self.about = [1, 2], {"version": "1"}  # TorchScript wraps lists and mappings

        def forward(self) -> None:
            raise RuntimeError("called")

    root = Node()
    for name, value in weights.items():
        *parents, leaf = name.split(".")
        node: nn.Module = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, Node())
            node = getattr(node, parent)
        node.register_buffer(leaf, value)
    for name, number in {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}.items():
        root.register_buffer(name, torch.tensor(number))
    torch.jit.script(root).save(str(path))


def cut_vocabulary(weights: dict[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    """Convert weights to the embedded model's form: some token rows, half precision."""
    table = weights.pop("token_embedding.weight")
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    return half | {"token_embedding.ids": ids, "token_embedding.rows": table[ids].half()}


def test_state_dict(tiny_clip: Tiny) -> None:
    loaded = load_model(tiny_clip.weights)
    tiny_clip.assert_same(loaded.model)
    assert loaded.name == "state dict"
    assert loaded.image_size == tiny_clip.images.shape[-1]
    assert torch.equal(loaded.tokenizer(["a photo of a cat.", "a tree"]), tiny_clip.tokens)


def test_loaded_model_is_frozen_fp32_and_in_eval_mode(tiny_clip: Tiny) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in tiny_clip.weights.items()}
    model = load_model(half).model
    assert not model.training
    assert not any(value.requires_grad for value in model.parameters())
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float32}
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])


def test_state_dict_is_shared_and_unmodified(tiny_vit: Tiny) -> None:
    owned = dict(tiny_vit.model.named_parameters())
    model = load_model(owned).model
    assert model.text_projection.data_ptr() == owned["text_projection"].data_ptr()
    assert owned["text_projection"].requires_grad


def test_safetensors(tiny_clip: Tiny, tmp_path: Path) -> None:
    save_file(tiny_clip.weights, tmp_path / "mine.safetensors")
    loaded = load_model(tmp_path / "mine.safetensors")
    tiny_clip.assert_same(loaded.model)
    assert loaded.name == "mine"


@pytest.mark.parametrize("wrapped", [False, True])
def test_torch_checkpoint(tiny_clip: Tiny, tmp_path: Path, wrapped: bool) -> None:
    weights = tiny_clip.weights
    content = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in weights.items()}}
    torch.save(content if wrapped else weights, tmp_path / "mine.pt")
    tiny_clip.assert_same(load_model(str(tmp_path / "mine.pt")).model)


def test_openai_archive_is_read_without_running_code(tiny_clip: Tiny, tmp_path: Path) -> None:
    openai_archive(tiny_clip.weights, tmp_path / "ViT-B-32.pt")
    loaded = load_model(tmp_path / "ViT-B-32.pt")
    tiny_clip.assert_same(loaded.model)
    assert loaded.name == "ViT-B-32"


@pytest.mark.parametrize("kind", ["vit", "rn", "vit_square"])
def test_golden_weights(kind: str) -> None:
    loaded = load_model(GOLDEN / f"clip_{kind}.safetensors")
    case = json.loads((GOLDEN / "cases" / f"zeroshot-{kind}.json").read_text())
    expected = load_file(GOLDEN / "cases" / f"zeroshot-{kind}.safetensors")
    names = [name.replace("_", " ") for name in case["classnames"]]
    tokens = loaded.tokenizer([case["options"]["template"].format(name) for name in names])
    images = load_file(GOLDEN / f"inputs_{kind}.safetensors")["images"]
    assert torch.equal(tokens, expected["tokens"])
    with torch.no_grad():
        text, image = loaded.model.encode_text(tokens), loaded.model.encode_image(images)
    torch.testing.assert_close(text, expected["text_features_raw"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(image, expected["image_features_raw"], atol=1e-5, rtol=1e-5)


def test_explicit_heads_and_activation(gelu_clip: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_model(gelu_clip.weights, heads=(4, 3), quick_gelu=False)
    gelu_clip.assert_same(loaded.model)
    assert loaded.tokenizer.context_length == 20


def test_assumed_heads_and_activation_are_logged(tiny_vit: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vlprompt")
    load_model(tiny_vit.weights)
    assert "assuming one head per 64 channels and QuickGELU" in caplog.text


def test_heads_of_unusual_width(gelu_clip: Tiny) -> None:
    with pytest.raises(VLPromptError, match=r"`heads` must divide the width 64 of the text tower, got 5"):
        load_model(gelu_clip.weights, heads=(5, 3))
    thin = gelu_clip.weights
    for name in [name for name in thin if name.startswith("visual.")]:
        del thin[name]
    thin["visual.conv1.weight"] = torch.zeros(32, 3, 8, 8)
    thin["visual.positional_embedding"] = torch.zeros(17, 32)
    with pytest.raises(VLPromptError, match=r"`heads` must divide the width 32 .* got 0; pass the heads="):
        load_model(thin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ln_final.bias": None}, "'ln_final.bias' is missing"),
        ({"text_projection": None}, "'text_projection' is missing"),
        ({"transformer.resblocks.0.mlp.c_fc.bias": None}, "'transformer.resblocks.0.mlp.c_fc.bias' is missing"),
        ({"visual.ln_3.weight": torch.ones(1)}, "'visual.ln_3.weight' is unknown"),
        ({"visual.ln_post.weight": torch.ones(7)}, r"'visual.ln_post.weight' must have shape \(128,\), got \(7,\)"),
        ({"visual.conv1.weight": torch.ones(7)}, r"'visual.conv1.weight' must have 4 dimensions, got shape \(7,\)"),
        ({"visual.positional_embedding": torch.ones(8, 128)}, "7 patch positions; only square grids"),
        ({"visual.conv1.weight": torch.ones(128, 3, 8, 4)}, "patches of 8 x 4 pixels"),
        ({"token_embedding.weight": torch.ones(99, 64)}, "vocabulary of 99 tokens, not CLIP's 49408"),
        ({"note": "text"}, "entry 'note' of the state dict must be a tensor, got str"),
    ],
)
def test_mismatched_weights_are_reported(tiny_vit: Tiny, change: dict[str, Tensor | None], message: str) -> None:
    weights = {name: value for name, value in (tiny_vit.weights | change).items() if value is not None}
    with pytest.raises(VLPromptError, match=message) as caught:
        load_model(weights)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_unsupported_weight_layout(tiny_vit: Tiny) -> None:
    with pytest.raises(VLPromptError, match=r"'visual.transformer.resblocks.0' is missing"):
        load_model({name: value for name, value in tiny_vit.weights.items() if "resblocks" not in name})


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_unreadable_file_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights in here")
    with pytest.raises(VLPromptError, match=name):
        load_model(tmp_path / name)


def test_checkpoint_with_other_objects_is_rejected(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(VLPromptError, match="a checkpoint must be a mapping of names to tensors, got list"):
        load_model(tmp_path / "list.pt")
    torch.save({"state_dict": {"a": Path("code")}}, tmp_path / "object.pt")
    with pytest.raises(VLPromptError, match=r"object.pt cannot be read safely as weights"):
        load_model(tmp_path / "object.pt")


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=r"gone.pt' does not exist"):
        load_model(tmp_path / "gone.pt")


def test_embedded_model_from_variable(tiny_vit: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = cut_vocabulary(tiny_vit.weights, ids=tiny_vit.tokens.unique())
    save_file(weights, tmp_path / "new.safetensors")
    monkeypatch.setenv("VLPROMPT_EMBEDDED", str(tmp_path / "new.safetensors"))
    loaded = load_model("embedded")
    assert loaded.name == "pictoclip"
    reference = load_model({name: value.half().float() for name, value in tiny_vit.weights.items()}).model
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_text(tiny_vit.tokens), reference.encode_text(tiny_vit.tokens))
        assert torch.equal(loaded.model.encode_image(tiny_vit.images), reference.encode_image(tiny_vit.images))
    table = loaded.model.token_embedding.weight
    assert table.shape == (49408, 64)
    assert not table[1000].any(), "a row that is not stored is zero"


def test_missing_embedded_model_from_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_EMBEDDED", "gone.safetensors")
    with pytest.raises(VLPromptError, match=r"VLPROMPT_EMBEDDED must be an existing file, got 'gone.safetensors'"):
        load_model("embedded")


def test_embedded_model_checksum(tiny_vit: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLPROMPT_EMBEDDED", raising=False)
    monkeypatch.setattr(assets, "files", lambda package: tmp_path)
    with pytest.raises(VLPromptError, match="missing from this installation"):
        load_model("embedded")
    asset = tmp_path / "assets" / "pictoclip.safetensors"
    asset.parent.mkdir()
    save_file(cut_vocabulary(tiny_vit.weights, ids=tiny_vit.tokens.unique()), asset)
    checksum = hashlib.sha256(asset.read_bytes()).hexdigest()
    asset.with_suffix(".sha256").write_text(f"{checksum}  {asset.name}\n")
    assert load_model("embedded").image_size == 32
    asset.with_suffix(".sha256").write_text(f"{'0' * 64}  {asset.name}\n")
    with pytest.raises(VLPromptError, match="damaged"):
        load_model("embedded")


def test_module_is_modified_in_place(tiny_clip: Tiny) -> None:
    module = load_model(tiny_clip.weights).model.double()
    loaded = load_model(module)
    assert loaded.model is module
    assert loaded.name == "CLIP"
    tiny_clip.assert_same(loaded.model)


def test_module_with_another_vocabulary_requires_a_tokenizer(tiny_vit: Tiny) -> None:
    text = {"width": 64, "heads": 1, "layers": 1, "vocab_size": 100, "context_length": 8}
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1}
    module = open_clip.CustomTextCLIP(16, vision, text)
    with pytest.raises(VLPromptError, match="vocabulary of 100 tokens"):
        load_model(module)
    own = load_model(tiny_vit.weights).tokenizer
    assert load_model(module, tokenizer=own).tokenizer is own


def test_unsupported_modules() -> None:
    with pytest.raises(VLPromptError, match="a Linear is not supported as `backbone`; supported are CLIP ViT"):
        load_model(nn.Linear(1, 1))
    text = {"width": 64, "heads": 1, "layers": 1, "embed_cls": True}
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1}
    with pytest.raises(VLPromptError, match="a CustomTextCLIP with a TextTransformer is not supported"):
        load_model(open_clip.CustomTextCLIP(16, vision, text))


def test_non_square_image_tower() -> None:
    vision = {"image_size": (32, 64), "patch_size": 16, "width": 64, "layers": 1}
    with pytest.raises(VLPromptError, match="32 x 64 pixels; only square ones are supported"):
        load_model(open_clip.CLIP(16, vision, {"width": 64, "heads": 1, "layers": 1}))


@pytest.mark.parametrize(("option", "value"), [("heads", (1, 1)), ("quick_gelu", True)])
def test_options_that_do_not_apply_to_the_source(option: str, value: object) -> None:
    with pytest.raises(VLPromptError, match=f"`{option}` applies only to"):
        load_model("embedded", **{option: value})  # type: ignore[arg-type]


def prefixed(weights: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for prefix in prefixes for name, value in weights.items()}


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "compile": lambda w: {"state_dict": prefixed(w, "_orig_mod.")},
    "DDP and compile": lambda w: {"state_dict": prefixed(w, "module._orig_mod.")},
    "compiled image tower": lambda w: {name.replace("visual.", "visual._orig_mod."): v for name, v in w.items()},
    "Lightning": lambda w: {
        "epoch": 3,
        "state_dict": prefixed(w, "model.")
        | {"criterion.weight": torch.ones(2), "ema_model.logit_scale": torch.ones(1)},
    },
    "deeper": lambda w: {"state_dict": prefixed(w, "net.clip.")},
    "model entry": lambda w: {"model": w, "optimizer": {"state": {}}},
    "nested entries": lambda w: {"model": {"state_dict": prefixed(w, "module.")}},
    "model_state_dict": lambda w: {"model_state_dict": w, "loss": 0.1},
    "EMA alone": lambda w: {"state_dict_ema": prefixed(w, "module.")},
    "EMA beside": lambda w: {"state_dict": w, "state_dict_ema": {name: value + 1 for name, value in w.items()}},
    "AveragedModel": lambda w: {"n_averaged": torch.tensor(3)} | prefixed(w, "module."),
    "FSDP": lambda w: {name.replace("resblocks.0.", "resblocks.0._fsdp_wrapped_module."): v for name, v in w.items()},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_checkpoint_of_a_training_script(tiny_clip: Tiny, tmp_path: Path, kind: str) -> None:
    torch.save(WRAPPED[kind](tiny_clip.weights), tmp_path / "mine.pt")
    tiny_clip.assert_same(load_model(tmp_path / "mine.pt").model)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_in_safetensors(tiny_clip: Tiny, tmp_path: Path, prefix: str) -> None:
    save_file(prefixed(tiny_clip.weights, prefix), tmp_path / "mine.safetensors")
    tiny_clip.assert_same(load_model(tmp_path / "mine.safetensors").model)
    tiny_clip.assert_same(load_model(prefixed(tiny_clip.weights, prefix)).model)


def test_several_models_in_a_checkpoint(tiny_vit: Tiny) -> None:
    with pytest.raises(VLPromptError, match=r"holds several models \('a\.', 'b\.'\); save one alone"):
        load_model(prefixed(tiny_vit.weights, "a.", "b."))
    tiny_vit.assert_same(load_model(prefixed(tiny_vit.weights, "student.", "teacher.")).model)


@pytest.mark.parametrize("form", ["{}", "ViT-B-16/{}"])
def test_hugging_face_file_without_its_folder(tmp_path: Path, form: str) -> None:
    save_file(
        {"text_model.final_layer_norm.bias": torch.ones(2), "logit_scale": torch.ones(())}, tmp_path / "m.safetensors"
    )
    with pytest.raises(VLPromptError, match=r"has Hugging Face's names.*pass the folder that holds both"):
        load_model(form.format(tmp_path / "m.safetensors"))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": Path("code")}))


def legacy_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))


UNSAFE: dict[str, Callable[[Path], object]] = {
    "plain pickle": pickled,
    "object": lambda path: torch.save({"a": Path("code")}, path),
    "module": lambda path: torch.save(nn.Linear(1, 1), path),
    "legacy tar": legacy_tar,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1"),
    "array": lambda path: np.save(path.open("wb"), np.array([Path("code")], dtype=object), allow_pickle=True),
}


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors", ".npz"])
@pytest.mark.parametrize("form", ["{}", "ViT-B-16/{}"])
@pytest.mark.parametrize("kind", UNSAFE)
def test_no_message_advises_to_load_unsafely(
    tiny_vit: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: str, suffix: str
) -> None:
    monkeypatch.setattr(pretrained, "_model", lambda config: tiny_vit.model)
    UNSAFE[kind](file := tmp_path / f"mine{suffix}")
    with pytest.raises(VLPromptError) as caught:
        load_model(form.format(file))
    assert "mine" in str(caught.value)
    assert not re.search("weights_only|allow_pickle|unsafe|trust", str(caught.value), re.IGNORECASE)


@pytest.mark.parametrize(
    ("name", "message"),
    [("visual.transformer.resblocks.{}.ln_1.bias", "more than 512"), ("transformer.resblocks.{}.x", "more than 512")],
)
def test_thousands_of_layers_are_refused(tiny_vit: Tiny, name: str, message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        load_model(tiny_vit.weights | {name.format(index): torch.ones(1) for index in range(5000)})
