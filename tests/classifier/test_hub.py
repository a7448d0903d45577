from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard

import vlprompt
from vlprompt import Classifier
from vlprompt.classifier import classifier as module
from vlprompt.errors import VLPromptError
from vlprompt.runs.record import read_record


@pytest.fixture(scope="module")
def classifier(weights: Path, pictures: Path) -> Classifier:
    settings = {"optim.epochs": 1, "optim.batch_size": 8, "method.n_ctx": 2}
    return vlprompt.tune(pictures, method="coop", backbone=str(weights), shots=2, settings=settings, quiet=True)


def test_save_pretrained_round_trip(
    classifier: Classifier, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mine"
    classifier.save_pretrained(folder, model_card_kwargs={"license": "apache-2.0"})
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "prompts.safetensors",
        "run.json",
    ]
    back = Classifier.from_pretrained(folder, device="cpu", backbone=classifier.record.config.backbone.source)
    path = pictures / "night" / "00.png"
    assert back.predict(path) == classifier.predict(path)
    assert vlprompt.load_classifier(folder, backbone=classifier.method.backbone).predict(path) == classifier.predict(
        path
    )
    assert not [record for record in caplog.records if record.name.startswith("huggingface_hub")]


def test_model_card_describes_method_data_and_metrics(classifier: Classifier, pictures: Path, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "mine", model_card_kwargs={"license": "apache-2.0"})
    card = ModelCard.load(tmp_path / "mine" / "README.md")
    accuracy = classifier.record.metrics["test"]["accuracy"]
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "vlprompt")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", round(accuracy, 1))
    for words in (
        "**coop**: Learned context vectors",
        "8 images of 4 classes (up to 2 per class, seed 1), 8 held out and 16 for testing",
        "Classes: blue sky, green leaf, night, red apple.",
        f"| test | {accuracy:.1f} |",
        f"temperature of {classifier.temperature:.2f}, fitted on 8 held-out images",
        "## License\n\napache-2.0.",
        "Classifier.from_pretrained(",
    ):
        assert words in card.text
    assert str(pictures) not in card.content
    assert "Not stated" in str(classifier.generate_model_card())


@pytest.mark.parametrize(
    ("source", "shared", "usage"),
    [
        ("embedded", "embedded", '"OWNER/NAME")'),
        ("ViT-B-16/openai", "ViT-B-16/openai", '"OWNER/NAME")'),
        ("hf-hub:me/clip", "hf-hub:me/clip", '"OWNER/NAME")'),
        ("ViT-B-16//srv/clip.pt", "ViT-B-16/clip.pt", '"OWNER/NAME", backbone="ViT-B-16/clip.pt")'),
        ("local-dir:/srv/clip", "clip", '"OWNER/NAME", backbone="clip")'),
    ],
)
def test_shared_files_have_no_local_paths(
    classifier: Classifier, source: str, shared: str, usage: str, tmp_path: Path
) -> None:
    config = classifier.record.config
    backbone = config.backbone.model_copy(update={"source": source})
    there = classifier.record.model_copy(update={"config": config.model_copy(update={"backbone": backbone})})
    Classifier(there, classifier.method).save_pretrained(tmp_path / "mine")
    assert read_record(tmp_path / "mine").config.backbone.source == shared
    assert f"from_pretrained({usage}" in (tmp_path / "mine" / "README.md").read_text()


def test_missing_weights_error_names_backbone(classifier: Classifier, weights: Path, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "mine")
    for path in (tmp_path / "mine").iterdir():
        if path.suffix in (".json", ".md"):
            assert str(weights.parent) not in path.read_text(), path.name
    with pytest.raises(VLPromptError, match="if the run's weights have moved, pass their path as `backbone`"):
        Classifier.from_pretrained(tmp_path / "mine")


def test_hub_dataset_keeps_its_full_name(classifier: Classifier) -> None:
    config = classifier.record.config
    data = config.data.model_copy(update={"source": "hf:owner/pets"})
    there = classifier.record.model_copy(update={"config": config.model_copy(update={"data": data})})
    assert "classes of hf:owner/pets" in str(Classifier(there, classifier.method).generate_model_card())


def test_push_uploads_what_save_pretrained_writes(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[dict[str, Any]] = []

    class Made:
        repo_id = "me/mine"

    def upload(self: HfApi, *, folder_path: Path, **options: Any) -> str:
        uploads.append({**options, "files": sorted(path.name for path in Path(folder_path).iterdir())})
        return "done"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **options: Made)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert classifier.push_to_hub("me/mine", private=True) == "done"
    (upload_,) = uploads
    assert upload_["repo_id"] == "me/mine"
    assert upload_["files"] == ["README.md", "config.json", "prompts.safetensors", "run.json"]


def test_from_pretrained_downloads_the_repository(
    classifier: Classifier, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.save(tmp_path / "there")
    asked: list[tuple[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        return str(tmp_path / "there")

    monkeypatch.setattr(module, "snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **options: _config(tmp_path))
    back = Classifier.from_pretrained("me/mine", revision="v1", backbone=classifier.method.backbone)
    assert asked == [("me/mine", "v1")]
    path = pictures / "night" / "00.png"
    assert back.predict(path) == classifier.predict(path)


def _config(folder: Path) -> str:
    file = folder / "config.json"
    file.write_text('{"model_type": "vlprompt"}')
    return str(file)
