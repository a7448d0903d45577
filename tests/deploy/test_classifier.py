from pathlib import Path

import pytest
from PIL import Image

import vlprompt
from vlprompt import VLPromptError
from vlprompt.config import parse_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    values = {"method": {"name": "coop", "n_ctx": 2}, "backbone": {"source": str(weights)}, "optim": {"epochs": 1}}
    vlprompt.tune(parse_config({**values, "data": {"source": str(pictures), "shots": 2}}), folder)
    return folder


def test_a_path_and_a_picture_get_the_same_answer(run: Path, pictures: Path) -> None:
    classifier = vlprompt.load(run, device="cpu")
    path = pictures / "night" / "00.png"
    guess = classifier.predict(path)
    assert guess == classifier.predict(str(path)) == classifier.predict(Image.open(path).convert("RGBA"))
    assert list(guess.probabilities) == sorted(guess.probabilities, key=lambda name: -guess.probabilities[name])
    assert set(guess.probabilities) == set(classifier.class_names)
    assert guess.probabilities[guess.label] == guess.probability
    assert sum(guess.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_run_without_prompts_says_so(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(VLPromptError, match=r"has no prompts.safetensors yet; let `vlprompt tune` end an epoch"):
        vlprompt.load(tmp_path, device="cpu")
    (tmp_path / "prompts.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(VLPromptError, match="does not fit the run's method"):
        vlprompt.load(tmp_path, device="cpu")


def test_a_record_that_is_not_ours_says_where(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"status": "done"}')
    with pytest.raises(VLPromptError, match=r"run.json cannot be read \(status: Input should be"):
        vlprompt.load(tmp_path)
