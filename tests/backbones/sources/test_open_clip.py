"""Models by their open_clip name and tag. Nothing is downloaded: the hub is a folder."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers.tiny_clip import TEXT, Tiny
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
    assert (loaded.image_size, loaded.interpolation) == (32, "bicubic")
    assert activation(load_model("ViT-B-16/laion400m_e32").model) is nn.GELU
    inception = load_model("ViT-B-16-quickgelu/openai")
    assert inception.mean == open_clip.OPENAI_DATASET_MEAN
    assert not [warning for warning in recwarn if "QuickGELU" in str(warning.message)]


def test_siglip_normalization() -> None:
    config = open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")
    model = open_clip.CLIP(48, VISION, TEXT)
    loaded = pretrained._loaded("siglip", model, config, load_model(model).tokenizer)
    assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


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
        assert (loaded.mean, loaded.interpolation) == ((0.1, 0.2, 0.3), "bilinear")
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
    assert loaded.std == (1, 1, 1)
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
        ("roberta-ViT-B-32/random", "is a model with a Hugging Face text tower"),
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
