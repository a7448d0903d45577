"""Models by their open_clip name and tag. Nothing is downloaded: the hub is a folder."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from safetensors.torch import save_file
from torch import nn

from tests.helpers.tiny_clip import TEXT, Tiny
from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.sources import open_clip as pretrained
from vlprompt.backbones.sources.load import load_model
from vlprompt.errors import VLPromptError

VISION = {"image_size": 32, "patch_size": 8, "width": 128, "layers": 2}


@pytest.fixture
def small_architectures(tiny_vit: Tiny, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, object]]:
    """Replace open_clip's architectures by small ones, keeping names, tags and their settings."""
    config = {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT}
    configs: dict[str, dict[str, object]] = {"ViT-B-16": config, "ViT-B-16-quickgelu": config | {"quick_gelu": True}}
    known = open_clip.get_model_config
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(configs.get(name) or known(name)))
    return configs


@pytest.fixture
def checkpoint(tiny_vit: Tiny, tmp_path: Path) -> Path:
    save_file(tiny_vit.weights, tmp_path / "open_clip_model.safetensors")
    return tmp_path / "open_clip_model.safetensors"


def activation(model: nn.Module) -> type:
    return type(model.visual.transformer.resblocks[0].mlp.gelu)


@pytest.mark.usefixtures("small_architectures")
def test_tag_sets_quick_gelu_and_preprocessing(
    tiny_vit: Tiny, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(open_clip, "download_pretrained", lambda config: str(checkpoint))
    loaded = load_model("ViT-B-16/openai")
    tiny_vit.assert_same(loaded.model)
    assert loaded.name == "ViT-B-16/openai"
    assert (loaded.image_size, loaded.preprocessing.interpolation) == (32, "bicubic")
    assert activation(load_model("ViT-B-16/laion400m_e32").model) is nn.GELU
    inception = load_model("ViT-B-16-quickgelu/openai")
    assert inception.preprocessing.mean == open_clip.OPENAI_DATASET_MEAN
    assert not [warning for warning in recwarn if "QuickGELU" in str(warning.message)]


def test_siglip_normalization() -> None:
    config = open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")
    model = open_clip.CLIP(48, VISION, TEXT)
    loaded = pretrained._loaded("siglip", model, pretrained.read_preprocessing(config), load_model(model).tokenizer)
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.usefixtures("small_architectures")
def test_local_checkpoint(tiny_vit: Tiny, checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_model(f"ViT-B-16-quickgelu/{checkpoint}")
    tiny_vit.assert_same(loaded.model)
    assert loaded.name == "ViT-B-16-quickgelu/open_clip_model"
    tiny_vit.assert_same(load_model(f"ViT-B-16/{checkpoint}", quick_gelu=True).model)
    torch.save({"state_dict": tiny_vit.weights}, tmp_path / "epoch_3.pt")
    tiny_vit.assert_same(load_model(f"ViT-B-16-quickgelu/{tmp_path / 'epoch_3.pt'}").model)


def test_mismatched_local_checkpoint(small_architectures: dict[str, dict[str, object]], checkpoint: Path) -> None:
    small_architectures["ViT-B-32"] = {"embed_dim": 48, "vision_cfg": VISION | {"layers": 3}, "text_cfg": TEXT}
    with pytest.raises(VLPromptError, match="does not fit the model it was given with: Missing key") as caught:
        load_model(f"ViT-B-32/{checkpoint}")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small_architectures")
def test_torchscript_archive_with_a_model_name(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(1, 1)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(VLPromptError, match="TorchScript archive, which needs no model name"):
        load_model(f"ViT-B-16/{tmp_path / 'ViT-B-16.pt'}")


@pytest.mark.usefixtures("small_architectures")
def test_random_weights_are_reproducible() -> None:
    torch.manual_seed(3)
    first = load_model("ViT-B/16/random")
    drawn = torch.rand(1)
    second = load_model("ViT-B-16/random")
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert first.name == second.name == "ViT-B-16/random"
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_open_clip_folder(tiny_vit: Tiny, checkpoint: Path, tmp_path: Path) -> None:
    folder = checkpoint.parent
    config = {"embed_dim": 48, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}
    described = {"model_cfg": config, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear"}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    for source in (f"local-dir:{folder}", folder):
        loaded = load_model(source)
        tiny_vit.assert_same(loaded.model)
        assert loaded.name == folder.name
        assert (loaded.preprocessing.mean, loaded.preprocessing.interpolation) == ((0.1, 0.2, 0.3), "bilinear")
    with pytest.raises(AssertionError):
        tiny_vit.assert_same(load_model(folder, quick_gelu=False).model)
    checkpoint.unlink()
    with pytest.raises(VLPromptError, match="has no weights with a file name that open_clip uses"):
        load_model(folder)
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(VLPromptError, match="does not describe a dual encoder"):
        load_model(folder)
    with pytest.raises(VLPromptError, match="is not an open_clip folder"):
        load_model("local-dir:gone")


def test_hub(tiny_vit: Tiny, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"embed_dim": 48, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT | {"context_length": 77}}
    described = checkpoint.with_name("config.json")
    described.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {"std": [1, 1, 1]}}))
    asked: list[str] = []

    def download(repository: str, filename: str | None = None) -> str:
        asked.append(repository)
        return str(described if filename else checkpoint)

    monkeypatch.setattr(pretrained, "download_pretrained_from_hf", download)
    loaded = load_model("hf-hub:somebody/some-clip")
    tiny_vit.assert_same(loaded.model)
    assert loaded.name == "hf-hub:somebody/some-clip"
    assert loaded.preprocessing.std == (1, 1, 1)
    assert set(asked) == {"somebody/some-clip"}


@pytest.mark.usefixtures("small_architectures")
def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(config: object) -> str:
        raise FileNotFoundError("Failed to download file\nfrom the hub")

    monkeypatch.setattr(open_clip, "download_pretrained", download)
    with pytest.raises(VLPromptError) as caught:
        load_model("ViT-B-16/openai")
    assert str(caught.value) == (
        "'ViT-B-16/openai' cannot be downloaded (Failed to download file); "
        "use a local copy: NAME/FILE or local-dir:FOLDER"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "ViT-B-61/openai",
            "'ViT-B-61/openai' is neither a file nor an open_clip name; did you mean 'ViT-B-16/openai'",
        ),
        ("embeded", "did you mean 'embedded'"),
        ("weights.pt", "is neither a file nor an open_clip name; see vlprompt.list_backbones"),
        ("ViT-B-16/opnai", "'ViT-B-16' has no pretrained tag or file 'opnai'; did you mean 'openai'"),
        ("ViT-B-16/weights.pt", "no pretrained tag or file 'weights.pt'; its tags are openai, laion400m_e31"),
        ("ViT-B/16", "'ViT-B-16' needs weights, as NAME/TAG; did you mean 'ViT-B-16/openai'"),
        ("ViT-L/14@336px", "did you mean 'ViT-L-14-336/openai'"),
        ("apple/DFN5B-CLIP-ViT-H-14-378", "did you mean 'ViT-H-14-378/dfn5b'"),
        ("ViT-B-16", "'ViT-B-16' needs weights, as NAME/TAG; its tags are openai"),
        ("coca_ViT-B-32/random", "is a CoCa model, which is not supported; supported are CLIP ViT"),
        ("mt5-base-ViT-B-32/random", "text encoders like google/mt5-base are not supported; supported are BERT"),
    ],
)
def test_unknown_and_unsupported_sources(source: str, message: str) -> None:
    with pytest.raises(VLPromptError, match=message) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)


def test_clips_models_are_not_supported() -> None:
    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"tokenizer_mode": "clips"}}
    with pytest.raises(VLPromptError, match="is a CLIPS model"):
        pretrained._check_supported("some-clips", config)


def test_siglip_tokenizer_is_lazy() -> None:
    config = open_clip.get_model_config("ViT-B-16-SigLIP")
    tokenizer = pretrained._tokenizer(config, config["text_cfg"]["hf_tokenizer_name"])
    assert tokenizer.context_length == 64


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Configurations of the models that are asked for, none of which is built."""
    asked: list[dict[str, Any]] = []

    def build(config: dict[str, Any], checkpoint: Path | None) -> object:
        asked.append(config)
        return SimpleNamespace(visual=SimpleNamespace(image_size=32))

    monkeypatch.setattr(pretrained, "_build", build)
    return asked


@pytest.mark.parametrize("source", pretrained.list_pretrained())
def test_file_is_used_as_its_tag_or_a_warning_names_the_option(
    source: str, built: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, tag = pretrained.split_source(source)
    published = open_clip.get_pretrained_cfg(name, tag)
    own = merge_preprocess_dict(PreprocessCfg(), published)
    (tmp_path / "mine.safetensors").touch()
    images = pretrained.load_pretrained(f"{name}/{tmp_path / 'mine.safetensors'}").preprocessing
    same = all(value == own[field] for field, value in images.model_dump().items())
    assert same or f"`backbone.preprocess={name}/" in caplog.text
    activation = published.get("quick_gelu", open_clip.get_model_config(name).get("quick_gelu", False))
    assert built[0]["quick_gelu"] == activation or "`backbone.quick_gelu=true`" in caplog.text
    caplog.clear()
    assert pretrained.load_pretrained(f"{name}/random").preprocessing == images
    assert not caplog.text, "random weights are nobody's"


AGREED = {
    "MobileCLIP-S1": ((0, 0, 0), (1, 1, 1), "bilinear", "shortest"),
    "ViT-B-16-SigLIP2": ((0.5,) * 3, (0.5,) * 3, "bicubic", "squash"),
    "ViT-L-14-CLIPA": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", "squash"),
    "PE-Core-B-16": ((0.5,) * 3, (0.5,) * 3, "bilinear", "squash"),
    "ViT-B-16": (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "bicubic", "shortest"),
    "ViT-M-16": (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "bicubic", "shortest"),
}


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", AGREED)
def test_preprocessing_that_all_tags_share(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    loaded = pretrained.load_pretrained(f"{name}/{tmp_path / 'mine.pt'}")
    assert tuple(loaded.preprocessing.model_dump().values()) == AGREED[name]
    usual = name in ("ViT-B-16", "ViT-M-16")
    assert loaded.settings == ({} if usual else {"preprocess": loaded.preprocessing})


@pytest.mark.parametrize(("name", "quick_gelu"), [("RN50", True), ("ViT-L-14-336", True), ("ViT-B-16", False)])
def test_activation_that_all_tags_share(
    name: str, quick_gelu: bool, built: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.pt").touch()
    loaded = pretrained.load_pretrained(f"{name}/{tmp_path / 'mine.pt'}")
    assert built[0]["quick_gelu"] is quick_gelu
    assert loaded.settings == ({"quick_gelu": True} if quick_gelu else {})
    assert ("`backbone.quick_gelu=true`" in caplog.text) is not quick_gelu
    caplog.clear()
    pretrained.load_pretrained(f"{name}/{tmp_path / 'mine.pt'}", quick_gelu=not quick_gelu)
    assert built[1]["quick_gelu"] is not quick_gelu
    assert not caplog.text


@pytest.mark.usefixtures("small_architectures")
@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ("ViT-B-16-SigLIP/webli", Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash")),
        ("ViT-L/14/laion2b_s32b_b82k", Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)),
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))),
        (Preprocessing(interpolation="bilinear"), Preprocessing(interpolation="bilinear")),
    ],
)
def test_chosen_preprocessing(tiny_vit: Tiny, checkpoint: Path, preprocess: object, expected: Preprocessing) -> None:
    for source in (f"ViT-B-16/{checkpoint}", "ViT-B-16/random", checkpoint, tiny_vit.weights, "embedded"):
        loaded = load_model(source, preprocess=preprocess)  # type: ignore[arg-type]
        assert loaded.preprocessing == loaded.settings["preprocess"] == expected


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ("siglip", "`preprocess` must be an open_clip pair NAME/TAG or a mapping, got 'siglip'"),
        ("ViT-B-16-SigLIP/weblii", "did you mean 'ViT-B-16-SigLIP/webli'"),
        ("ViT-B-16/random", "must be an open_clip pair"),
        (5, "must be an open_clip pair NAME/TAG, or a mapping of mean, std, interpolation and resize_mode, got 5"),
        ({"mean": [123.7, 116.3, 103.5]}, r"mean.0: must be at most 1, got 123.7"),
        ({"std": [0, 1, 1]}, "std.0: must be greater than 0"),
        ({"mean": [0.5]}, "mean.1 is missing"),
        ({"resize_mode": "longest"}, "resize_mode: must be 'shortest' or 'squash', got 'longest'"),
        ({"crop": True}, "crop is unknown"),
    ],
)
def test_wrong_preprocessing(preprocess: object, message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        load_model("embedded", preprocess=preprocess)  # type: ignore[arg-type]


def test_unsupported_preprocessing_of_a_folder(tiny_vit: Tiny, checkpoint: Path) -> None:
    config = {"embed_dim": 48, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}
    described = {"model_cfg": config, "preprocess_cfg": {"resize_mode": "longest"}}
    checkpoint.with_name("open_clip_config.json").write_text(json.dumps(described))
    with pytest.raises(VLPromptError, match=r"resize_mode: must be .*; set `backbone.preprocess`"):
        load_model(checkpoint.parent)
    tiny_vit.assert_same(load_model(checkpoint.parent, preprocess="ViT-B-32/openai").model)


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("text_cfg", "layers", 10**7, r"text_cfg.layers 1e\+07, more than 512"),
        ("vision_cfg", "layers", 10**7, "more than 512"),
        ("vision_cfg", "layers", [10**7, 1, 1, 1], "vision_cfg.layers.0"),
        ("text_cfg", "layers", 500, "but the file holds"),
        ("text_cfg", "width", 2**20, "text_cfg.width"),
        ("vision_cfg", "width", 102_400, "but the file holds"),
        ("text_cfg", "vocab_size", 10**9, "text_cfg.vocab_size"),
        ("text_cfg", "context_length", 10**6, "but the file holds"),
        ("vision_cfg", "image_size", 10**8, "vision_cfg.image_size"),
        ("vision_cfg", "image_size", 80_000, "but the file holds"),
        ("vision_cfg", "mlp_ratio", 1e9, "vision_cfg.mlp_ratio"),
        ("vision_cfg", "mlp_ratio", 1e5, "but the file holds"),
        ("vision_cfg", "width", 10**400, "cannot be built"),
        ("text_cfg", "heads", 10**9, "text_cfg.heads"),
    ],
)
def test_absurd_sizes_are_refused_before_the_model_is_built(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, section: str, name: str, value: object, message: str
) -> None:
    config: dict[str, Any] = {"embed_dim": 48, "vision_cfg": dict(VISION), "text_cfg": dict(TEXT)}
    config[section][name] = value
    checkpoint.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    monkeypatch.setattr(pretrained, "_build", lambda *given: pytest.fail("built"))
    with pytest.raises(VLPromptError, match=message):
        load_model(checkpoint.parent)
