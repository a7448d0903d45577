import errno
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import vlprompt
from tests.helpers.faults import Disk, Killed
from vlprompt import Classifier, VLPromptError
from vlprompt.data.images import ImageError

FAST = {"optim.epochs": 2, "optim.batch_size": 8, "method.n_ctx": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    vlprompt.tune(pictures, method="coop", backbone=str(weights), shots=2, settings=FAST, out=folder, quiet=True)
    return folder


@pytest.fixture
def classifier(run: Path) -> Classifier:
    return vlprompt.load_classifier(run, device="cpu")


def test_three_lines(weights: Path, pictures: Path, run: Path, classifier: Classifier) -> None:
    tuned = vlprompt.tune(pictures, method="coop", backbone=str(weights), shots=2, settings=FAST, quiet=True)
    path = pictures / "night" / "00.png"
    assert tuned.predict([path]) == classifier.predict([path])
    assert tuned.record.metrics == classifier.record.metrics
    assert tuned.record.status == "finished"


def test_recipe_sets_the_protocol(weights: Path, pictures: Path) -> None:
    options = {"backbone": weights, "shots": 2, "quiet": True, "epochs": 1}
    assert vlprompt.tune(pictures, recipe="coop/base-to-new", **options).record.config.protocol == "base-to-new"


def test_tune_takes_a_data_frame(weights: Path, pictures: Path) -> None:
    paths = sorted(pictures.rglob("*.png"))
    frame = pl.DataFrame({"path": list(map(str, paths)), "label": [path.parent.name for path in paths]})
    tuned = vlprompt.tune(frame, method="zero-shot", backbone=weights, quiet=True)
    assert tuned.class_names == ("blue sky", "green leaf", "night", "red apple")
    assert tuned.record.config.data.source == "frame"
    assert tuned.evaluate(frame, quiet=True)["images"] == tuned.record.metrics["test"]["images"]


def test_tune_takes_what_the_command_line_takes(weights: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"seed: 7\nmethod: {{name: coop, n_ctx: 2}}\nbackbone: {{source: {weights}}}\n")
    names = tmp_path / "names.csv"
    names.write_text("red_apple,a ripe apple\nblue_sky,sky\ngreen_leaf,leaf\nnight,night\n")
    options = {"shots": 2, "epochs": 2, "batch_size": 4, "lr": 0.01, "device": "cpu", "quiet": True}
    tuned = vlprompt.tune(pictures, recipe=recipe, name_map=names, **options)
    config = tuned.record.config
    assert (config.seed, config.method.name, config.backbone.source) == (7, "coop", str(weights)), "the recipe's"
    assert (config.optim.epochs, config.optim.batch_size, config.optim.lr) == (2, 4, 0.01)
    assert "a ripe apple" in tuned.class_names
    assert vlprompt.tune(pictures, recipe=recipe, seed=3, **options).record.config.seed == 3


def test_tune_tests_on_other_datasets(weights: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "other")
    tuned = vlprompt.tune(
        pictures,
        method="zero-shot",
        protocol="cross-dataset",
        targets=[str(tmp_path / "other")],
        backbone=weights,
        device="cpu",
        quiet=True,
    )
    assert tuned.record.metrics["other"] == tuned.record.metrics["source"]


def test_evaluate_on_the_runs_data_and_on_other_data(classifier: Classifier, pictures: Path, tmp_path: Path) -> None:
    expected, names = classifier.record.metrics["test"], classifier.class_names
    assert classifier.evaluate(pictures, quiet=True) == expected
    dataset = vlprompt.load_dataset(pictures)
    assert classifier.evaluate(dataset, quiet=True) == expected
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "night").rename(other / "fog")
    found = classifier.evaluate(other, quiet=True)
    assert set(found["class_accuracy"]) == {"blue sky", "fog", "green leaf", "red apple"}
    words = {folder.name: f"a {folder.name}" for folder in other.iterdir()}
    assert "a fog" in classifier.evaluate(other, name_map=words, quiet=True)["class_accuracy"]
    with pytest.raises(VLPromptError, match=r"`data` pictures\d* has no test images"):
        classifier.evaluate(dataset.learned)
    renamed = vlprompt.load_dataset(other, name_map=words)
    shutil.rmtree(other)
    with pytest.raises(ImageError, match="no such file"):
        classifier.evaluate(renamed, quiet=True)
    assert classifier.class_names == names, "an error in between changes nothing"


def test_repr_describes_the_classifier(run: Path, classifier: Classifier) -> None:
    accuracy = classifier.record.metrics["test"]["accuracy"]
    assert repr(classifier) == (
        "Classifier(coop, 4 classes: 'blue sky', 'green leaf', 'night' and 1 more; backbone tiny; "
        f"{run}; test accuracy {accuracy:.1f}%)"
    )
    classifier.remove_classes(["night"])
    expected = f"Classifier(coop, 3 classes: 'blue sky', 'green leaf', 'red apple'; backbone tiny; {run})"
    assert repr(classifier) == expected
    assert repr(classifier.zero_shot()).startswith("Classifier(zero-shot, 3 classes: ")


def test_resume_loads_a_finished_run(weights: Path, pictures: Path, run: Path, classifier: Classifier) -> None:
    options = {"method": "coop", "backbone": classifier.method.backbone, "shots": 2, "settings": FAST, "quiet": True}
    before = (run / "run.json").stat().st_mtime_ns
    again = vlprompt.tune(vlprompt.load_dataset(pictures), out=run, resume=True, **options)
    assert again.record == classifier.record
    assert (run / "run.json").stat().st_mtime_ns == before
    with pytest.raises(VLPromptError, match="already holds a run"):
        vlprompt.tune(pictures, out=run, **options)
    with pytest.raises(VLPromptError, match=r"unknown setting optim\.epoch; did you mean 'optim\.epochs'"):
        vlprompt.tune(pictures, backbone="embedded", settings={"optim.epoch": 3}, quiet=True)


def test_tune_without_a_test_split(weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("apple", "pear"):
        (tmp_path / "few" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (200, 0 if name == "apple" else 200, 0)).save(tmp_path / "few" / name / "one.png")
    with caplog.at_level(logging.WARNING, "vlprompt"):
        tuned = vlprompt.tune(
            tmp_path / "few", method="coop", backbone=str(weights), settings=FAST, out=tmp_path / "run", quiet=True
        )
    assert "2 of 2 classes have no test image" in caplog.text
    assert (tuned.record.status, tuned.record.metrics, tuned.record.calibration) == ("finished", {}, None)
    assert tuned.temperature == 1.0
    assert not (tmp_path / "run" / "predictions.parquet").exists()
    assert "Not measured." in str(tuned.generate_model_card())


def test_paths_images_and_arrays_get_the_same_prediction(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "night" / "00.png"
    image = Image.open(path)
    array = np.asarray(image)
    one = classifier.predict(path)
    assert len(one) == 1
    for same in (str(path), image, image.convert("RGBA"), array, array / 255.0, [array], array[None]):
        (guess,) = classifier.predict(same)
        assert (guess.label, guess.probability) == (one[0].label, pytest.approx(one[0].probability, abs=1e-6))
    gray = Image.fromarray(array).convert("L")
    for same in (np.asarray(gray), np.asarray(gray)[..., None]):
        assert classifier.predict(same) == classifier.predict(gray)


def test_guess_ranks_the_classes(classifier: Classifier, pictures: Path) -> None:
    paths = [pictures / name / "00.png" for name in ("night", "red_apple", "blue_sky")]
    guesses = classifier.predict(paths, top=3, batch_size=2)
    with torch.no_grad():
        pixels = torch.stack([classifier.pixels(path) for path in paths])
        expected = (classifier.method(pixels).logits / classifier.temperature).softmax(-1).numpy()
    for guess, row in zip(guesses, expected, strict=True):
        np.testing.assert_allclose(guess.probabilities, row, atol=1e-6)
        order = row.argsort()[::-1][:3]
        assert [name for name, _ in guess.top] == [classifier.class_names[place] for place in order]
        assert (guess.label, guess.probability) == guess.top[0]
    assert len(classifier.predict(paths[0], top=99)[0].top) == 4
    assert classifier.predict([]) == []


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("https://example.org/cat.png", "cannot read image https://example.org/cat.png: URLs are not fetched"),
        (Path("s3://bucket/cat.png"), "URLs are not fetched; download the file first"),
        ("data:image/png;base64,AAAA", "URLs are not fetched"),
        ("nowhere.png", "cannot read image nowhere.png: no such file"),
        (
            np.zeros((2, 3, 4, 5, 3)),
            r"an array must have shape \(H, W\), .* got \(3, 4, 5, 3\)",
        ),
        (np.zeros((3, 40, 36)), r"an array must have shape .*, got \(3, 40, 36\)"),
        (np.zeros((0, 4, 3)), r"an array must have shape .*, got \(0, 4, 3\)"),
        (np.full((4, 4, 3), 200.0), "a float array must have values from 0 to 1"),
        (np.full((4, 4, 3), np.nan), "a float array must have values from 0 to 1"),
        (np.zeros((4, 4, 3), np.int64), "an array must have dtype uint8, or floats from 0 to 1, got int64"),
        ([torch.zeros(3, 4, 4)], "must be a path, an open file, bytes, a PIL image or an array .*, got Tensor"),
        ([None], "must be a path, .* got NoneType"),
    ],
)
def test_invalid_images_are_refused_with_a_reason(classifier: Classifier, image: object, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        classifier.predict(image)  # type: ignore[arg-type]


def test_open_files_and_bytes_are_read(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "night" / "00.png"
    content, (expected,) = path.read_bytes(), classifier.predict(path)
    read = io.BytesIO(content)
    read.seek(0, io.SEEK_END)  # as after another reader
    with path.open("rb") as file, path.open("rb") as raw, path.open() as text:
        upload = SimpleNamespace(read=raw.read, seek=raw.seek, seekable=raw.seekable)  # as Flask's
        for image in (read, file, upload, content, bytearray(content), memoryview(content)):
            for given in (image, [image]):
                (guess,) = classifier.predict(given)  # type: ignore[arg-type]
                assert guess.probabilities.tolist() == expected.probabilities.tolist()
        with pytest.raises(ImageError, match=r'a file must be open in binary mode, as open\(path, "rb"\)'):
            classifier.predict(text)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="the file cannot be read"):
        classifier.predict(file)
    with pytest.raises(ImageError, match="not an image"):
        classifier.predict(b"no image")


def test_columns_of_data_frames_are_read(classifier: Classifier, pictures: Path) -> None:
    paths = sorted(map(str, (pictures / "night").iterdir()))
    expected = [guess.label for guess in classifier.predict(paths)]
    frame = pl.DataFrame({"path": paths})
    for images in (frame, frame["path"], np.array(paths), np.array(paths)[:, None], np.array(paths, object)):
        assert [guess.label for guess in classifier.predict(images)] == expected
    with pytest.raises(VLPromptError, match="`images` must be one column of images, got 'path', 'label'; pass one"):
        classifier.predict(frame.with_columns(label=pl.lit("night")))
    with pytest.raises(VLPromptError, match=r"`images` must be a path, .* got dict"):
        classifier.predict({"path": paths})


def test_wrong_arguments_raise(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "night" / "00.png"
    for words, message in (
        ({"top": 0}, "`top` must be at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
    ):
        with pytest.raises(VLPromptError, match=message):
            classifier.predict(path, **words)
    with pytest.raises(VLPromptError, match=r"`images` must be a path, .* got int"):
        classifier.predict(3)  # type: ignore[arg-type]
    with pytest.raises(VLPromptError, match="`class_names` must hold strings, got 3"):
        classifier.add_classes([3])  # type: ignore[list-item]


def test_weights_may_have_moved(
    run: Path, weights: Path, classifier: Classifier, pictures: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(weights.read_bytes())
    path = pictures / "night" / "00.png"
    assert vlprompt.load_classifier(run, device="cpu", backbone=moved).predict(path) == classifier.predict(path)


def test_broken_image_keeps_its_position(classifier: Classifier, pictures: Path, tmp_path: Path) -> None:
    good, broken = pictures / "night" / "00.png", tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:60])
    found = list(classifier.predict_each([good, broken, good, broken], batch_size=3))
    assert [type(guess).__name__ for guess in found] == ["Guess", "ImageError", "Guess", "ImageError"]
    assert found[0] == found[2]
    with pytest.raises(ImageError, match=r"broken\.png"):
        classifier.predict([good, broken])


def test_features_match_the_image_tower(classifier: Classifier, pictures: Path) -> None:
    paths = [pictures / "night" / f"{number:02}.png" for number in range(3)]
    features = classifier.features(paths, batch_size=2)
    with torch.no_grad():
        pixels = torch.stack([classifier.pixels(path) for path in paths])
        expected = classifier.method.image_features(pixels).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert classifier.features([]).shape == (0, features.shape[1])
    with pytest.raises(ImageError, match="no such file"):
        classifier.features("nowhere.png")


def test_add_and_remove_classes(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "night" / "00.png"
    (before,) = classifier.predict(path)
    names = classifier.class_names
    classifier.add_classes(name for name in ("purple_rain", "white noise"))
    (more,) = classifier.predict(path)
    assert classifier.class_names == (*names, "purple rain", "white noise")
    with torch.no_grad():
        every = classifier.method(classifier.pixels(path)[None]).logits / classifier.temperature
    np.testing.assert_allclose(more.probabilities, every.softmax(-1)[0].numpy(), atol=1e-6)
    classifier.remove_classes(["white noise", "purple rain"])
    assert classifier.class_names == names
    np.testing.assert_allclose(classifier.predict(path)[0].probabilities, before.probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "names", "message"),
    [
        ("add", ["night"], "holds 'night' twice"),
        ("add", ["fog", "fog"], "holds 'fog' twice"),
        ("add", [" "], "empty name"),
        ("add", [], "`class_names` is empty"),
        ("remove", [], "`class_names` is empty"),
        ("add", "fog", "`class_names` must be a list of names, got 'fog'"),
        ("add", ["very " * 90 + "long"], "very very"),
        (
            "remove",
            ["fog"],
            "has unknown class 'fog'; the classes are 'blue sky', 'green leaf', 'night', 'red apple'",
        ),
        (
            "remove",
            ["night", "blue_sky", "green leaf", "red apple"],
            "`class_names` has all classes; keep at least one",
        ),
    ],
)
def test_invalid_class_names_change_nothing(
    classifier: Classifier, pictures: Path, act: str, names: list[str], message: str
) -> None:
    path, before = pictures / "night" / "00.png", classifier.class_names
    (guess,) = classifier.predict(path)
    with pytest.raises(VLPromptError, match=message):
        (classifier.add_classes if act == "add" else classifier.remove_classes)(names)
    assert classifier.class_names == before
    assert classifier.predict(path) == [guess]


def test_classes_are_restored_after_out_of_memory(
    classifier: Classifier, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = pictures / "night" / "00.png", classifier.class_names
    (guess,) = classifier.predict(path)

    def fail(self: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(type(classifier.method), "class_features", fail)
        classifier.add_classes(["fog"])
    assert classifier.class_names == before
    assert classifier.predict(path) == [guess]


def test_class_bound_method_refuses_new_classes(weights: Path, pictures: Path) -> None:
    bound = vlprompt.tune(pictures, method="linear-probe", backbone=str(weights), shots=2, quiet=True)
    with pytest.raises(VLPromptError, match="learns something for each class"):
        bound.add_classes(["fog"])


def test_zero_shot_baseline(classifier: Classifier, pictures: Path) -> None:
    frozen = classifier.zero_shot()
    assert frozen.method.name == frozen.record.config.method.name == "zero-shot"
    assert frozen.method.backbone is classifier.method.backbone
    assert frozen.class_names == classifier.class_names
    assert frozen.temperature == classifier.record.zero_shot_calibration.temperature
    expected = vlprompt.create_method("zero-shot", classifier.method.backbone, classifier.class_names)
    with torch.no_grad():
        logits = expected(classifier.pixels(pictures / "night" / "00.png")[None]).logits[0]
    np.testing.assert_allclose(
        frozen.predict(pictures / "night" / "00.png")[0].probabilities,
        (logits / frozen.temperature).softmax(-1).numpy(),
        atol=1e-6,
    )


def test_prompts_with_non_finite_features_are_refused(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    with safe_open(folder / "prompts.safetensors", "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(
        {name: torch.full_like(value, 3e38) for name, value in tensors.items()}, folder / "prompts.safetensors", about
    )
    with pytest.raises(VLPromptError, match="produce non-finite class features: their file is damaged"):
        vlprompt.load_classifier(folder)


def test_failed_save_keeps_the_previous_files(
    classifier: Classifier, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "saved"
    classifier.save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = vlprompt.load_classifier(folder).zero_shot()
    for at in range(1, 40):
        with monkeypatch.context() as patch:
            disk = Disk(patch, folder, at, errno.ENOSPC)
            try:
                other.save(folder)
            except VLPromptError:
                if disk.steps[at - 1] == "rename prompts.safetensors":  # the two renames are not atomic together
                    continue
                assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
            else:
                break
    assert vlprompt.load_classifier(folder).method.name == "zero-shot"


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("vpt", lambda name, value: 1e30 * value),
        ("linear-probe", lambda name, value: value.log() if name == "bias" else value),
    ],
)
def test_prompts_with_non_finite_logits_are_refused(
    method: str, change: Callable[[str, torch.Tensor], torch.Tensor], classifier: Classifier, pictures: Path
) -> None:
    backbone = classifier.method.backbone
    settings = {"optim.epochs": 1, "optim.batch_size": 8} if method == "vpt" else {}
    tuned = vlprompt.tune(pictures, method=method, backbone=backbone, shots=2, settings=settings, quiet=True)
    state = tuned.method.state_dict()
    if method == "linear-probe":
        state["bias"] = torch.zeros_like(state["bias"])
    tuned.method.load_prompts({name: change(name, value) for name, value in state.items()})
    with pytest.raises(VLPromptError, match="produce non-finite logits: their file is damaged"):
        Classifier(tuned.record, tuned.method)


def test_killed_save_leaves_the_old_or_the_new_classifier(
    classifier: Classifier, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = classifier.method.backbone
    other = vlprompt.load_classifier(run, backbone=backbone)
    other.method.load_prompts({name: 2 * value for name, value in other.method.state_dict().items()})
    other.record.calibration = None
    classifier.save(tmp_path / "steps")
    with monkeypatch.context() as patch:
        steps = Disk(patch, tmp_path / "steps")
        other.save(tmp_path / "steps")
    assert steps.steps[-2:] == ["rename run.json", "rename prompts.safetensors"]
    for at in range(1, len(steps.steps) + 1):
        folder = tmp_path / f"{at}"
        classifier.save(folder)
        with monkeypatch.context() as patch:
            Disk(patch, folder, at)
            with pytest.raises(Killed):
                other.save(folder)
        found = vlprompt.load_classifier(folder, backbone=backbone)
        whole = other if found.record.calibration is None else classifier
        for name, value in found.method.state_dict().items():
            assert torch.equal(value, whole.method.state_dict()[name])
        other.save(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["prompts.safetensors", "run.json"]
    (folder / "prompts.safetensors").write_bytes((run / "prompts.safetensors").read_bytes())
    with pytest.raises(VLPromptError, match=r"has no prompts\.safetensors with the recorded hash"):
        vlprompt.load_classifier(folder, backbone=backbone)


@pytest.mark.parametrize("changed", [False, True])
def test_save_and_load_round_trip(classifier: Classifier, pictures: Path, tmp_path: Path, changed: bool) -> None:
    if changed:
        classifier.add_classes(["fog"])
        classifier.remove_classes(["night"])
    folder = tmp_path / "saved"
    classifier.save(folder)
    back = vlprompt.load_classifier(folder, backbone=classifier.method.backbone)
    path = pictures / "red_apple" / "03.png"
    assert back.class_names == classifier.class_names
    np.testing.assert_allclose(
        back.predict(path)[0].probabilities, classifier.predict(path)[0].probabilities, atol=1e-6
    )
    assert back.record.calibration == classifier.record.calibration is not None
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["metrics"]) == ("saved", classifier.record.metrics)
    assert str(pictures) not in (folder / "run.json").read_text()
    assert record["config"]["data"]["source"] == pictures.name
    back.save(folder)  # overwrites the earlier save
    assert vlprompt.load_classifier(folder, backbone=classifier.method.backbone).class_names == classifier.class_names


def test_saving_never_overwrites_something_else(classifier: Classifier, run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for save in (classifier.save, classifier.save_pretrained):
        for folder in (run, tmp_path):
            with pytest.raises(VLPromptError, match="holds something other than a saved classifier"):
                save(folder)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_instance_conditional_method_caches_no_class_features(weights: Path, pictures: Path) -> None:
    settings = {"optim.epochs": 1, "optim.batch_size": 4}
    tuned = vlprompt.tune(pictures, method="cocoop", backbone=str(weights), shots=1, settings=settings, quiet=True)
    path = pictures / "night" / "00.png"
    (before,) = tuned.predict(path)
    tuned.add_classes(["fog"])
    assert tuned.predict(path)[0].probabilities.shape == (5,)
    tuned.remove_classes(["fog"])
    np.testing.assert_allclose(tuned.predict(path)[0].probabilities, before.probabilities, atol=1e-6)


def test_run_without_prompts_raises(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(VLPromptError, match=r"has no prompts.safetensors yet"):
        vlprompt.load_classifier(tmp_path, device="cpu")
    (tmp_path / "prompts.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(VLPromptError, match=r"prompts.safetensors"):
        vlprompt.load_classifier(tmp_path, device="cpu")


def test_damaged_record_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"status": "done"}')
    with pytest.raises(VLPromptError, match=r"run.json"):
        vlprompt.load_classifier(tmp_path)
