"""Complete runs on tiny data: run folders, resuming and errors."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars
import pytest
from PIL import Image
from safetensors.torch import load_file

import vlprompt
from tests.helpers.impatient import Impatient
from vlprompt import VLPromptError
from vlprompt.config.resolve import resolve_config, with_method_defaults
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.data.loading import load_dataset
from vlprompt.data.readers.split_file import read_split, write_split
from vlprompt.experiments.run import evaluate, run_experiment
from vlprompt.experiments.task import open_task
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.restore import restore


@pytest.fixture
def config(weights: Path, pictures: Path) -> Any:
    def make(name: str = "coop", **changes: Any) -> RunConfig:
        lengths = {"coop": {"n_ctx": 2}, "dapt": {"n_text": 2, "n_visual": 2}}
        values: dict[str, Any] = {
            "method": {"name": name, **lengths.get(name, {})},
            "backbone": {"source": str(weights)},
            "data": {"source": str(pictures), "shots": 4, "views": 3},
            "optim": {"epochs": 4, "batch_size": 5, "lr": 0.1},
        }
        for key, value in changes.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
        return parse_config(values)

    return make


def without_times(record: RunRecord) -> list[Any]:
    return [(epoch.epoch, epoch.lr, epoch.accuracy, epoch.losses) for epoch in record.history]


def test_run_folder_contents(config: Any, tmp_path: Path, pictures: Path) -> None:
    record = run_experiment(config("dapt"), tmp_path / "run")
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == ["predictions.parquet", "prompts.safetensors", "run.json", "split.jsonl"]
    assert read_record(tmp_path / "run") == record
    assert record.status == "finished"
    assert record.class_names == ["blue sky", "green leaf", "night", "red apple"]
    assert record.trainable_parameters == 2 * 64 + 2 * 64
    assert record.config.method.options["template"] == "a photo of a {}."
    assert [epoch.epoch for epoch in record.history] == [1, 2, 3, 4]
    assert record.history[0].lr == 1e-5
    assert record.history[1].lr == 0.1
    assert set(record.history[0].losses) == {"total", "cross_entropy", "intra_dispersion", "inter_dispersion"}
    prompts = load_file(tmp_path / "run" / "prompts.safetensors")
    assert {name: tuple(value.shape) for name, value in prompts.items()} == {
        "text_context": (2, 64),
        "visual_context": (2, 64),
        "prototypes": (4, 32),
    }
    table = polars.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert len(table) == record.metrics["test"]["images"] == record.split.test
    right = (table["label"] == table["prediction"]).mean()
    assert record.metrics["test"]["accuracy"] == pytest.approx(100 * right)
    assert all((pictures / path).exists() for path in table["path"])
    assert record.tests["test"].model_dump(exclude={"hash"}) == {
        "dataset": pictures.name,
        "classes": 4,
        "images": record.split.test,
    }
    assert len((tmp_path / "run" / "run.json").read_text().splitlines()) == len(RunRecord.model_fields)


def test_record_has_recipe_and_overrides(weights: Path, pictures: Path, tmp_path: Path) -> None:
    settings = {
        "backbone.source": str(weights),
        "data.source": str(pictures),
        "data.shots": 2,
        "data.views": 1,
        "optim.epochs": 1,
        "method.n_ctx": 2,
    }
    config = resolve_config(method="coop", recipe="unified", settings=settings)
    run_experiment(config, tmp_path / "run")
    again = read_record(tmp_path / "run").config
    assert again == config.with_template("a photo of a {}.")
    assert again.recipe == "unified"
    assert again.overrides == {"method.n_ctx": 2, "optim.epochs": 1, "data.views": 1}


def test_training_lowers_the_loss(config: Any, tmp_path: Path) -> None:
    record = run_experiment(config("coop", optim={"epochs": 30, "lr": 1.0}), tmp_path / "run")
    assert record.history[-1].losses["total"] < record.history[0].losses["total"] - 0.2


@pytest.mark.parametrize("method", ["coop", "dapt", "promptsrc", "clip-lora"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumed_run_is_bitwise_identical(method: str, optimizer: str, config: Any, tmp_path: Path) -> None:
    settings = config(method, optim={"optimizer": optimizer})
    whole = run_experiment(settings, tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):  # three batches an epoch: in the middle of the third
        run_experiment(settings, tmp_path / "cut", reporter=Impatient(after=8))
    cut = read_record(tmp_path / "cut")
    assert (cut.status, cut.metrics) == ("interrupted", {})
    assert without_times(cut) == without_times(whole)[:2]
    assert (tmp_path / "cut" / "state.safetensors").exists()
    assert vlprompt.evaluate(tmp_path / "cut", device="cpu")["test"]["images"] == whole.split.test

    again = run_experiment(settings, tmp_path / "cut", resume=True)
    assert without_times(again) == without_times(whole)
    assert again.metrics == whole.metrics
    one, other = ((tmp_path / name / "prompts.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == other


def test_resuming_refuses_another_run(config: Any, tmp_path: Path, pictures: Path) -> None:
    settings = config()
    record = run_experiment(settings, tmp_path / "run")
    with pytest.raises(
        VLPromptError, match=r"`out` .* already holds a run \(finished\); pass `resume=True` to continue it"
    ):
        run_experiment(settings, tmp_path / "run")
    assert run_experiment(settings, tmp_path / "run", resume=True) == record
    faster = config(runtime={"eval_batch_size": 7})
    assert run_experiment(faster, tmp_path / "run", resume=True) == record
    for other in (config(seed=2), config(optim={"lr": 0.2}), config("dapt"), config(data={"shots": 3})):
        with pytest.raises(VLPromptError, match="other settings, images or weights"):
            run_experiment(other, tmp_path / "run", resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(VLPromptError, match=r"`out` .* exists and is not a run folder; choose another one"):
        run_experiment(settings, tmp_path / "full")


def test_run_folder_inside_the_data_is_refused(config: Any, pictures: Path) -> None:
    with pytest.raises(VLPromptError, match=r"`out` .*mine is inside .*, whose folders are classes"):
        run_experiment(config(), pictures / "mine")
    assert not (pictures / "mine").exists()


def test_run_folder_may_share_a_dataset_name(
    config: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pools = {"openmoji": load_dataset(pictures)}
    for seed in (1, 2):
        run_experiment(config(seed=seed, data={"source": "openmoji"}), Path("openmoji") / str(seed), pools=pools)
    assert len(list(tmp_path.glob("openmoji/*/run.json"))) == 2


def test_damaged_state_raises(config: Any, tmp_path: Path) -> None:
    settings = config()
    run_experiment(settings, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "status": "running"}))
    (tmp_path / "run" / "state.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(VLPromptError, match=r"state.safetensors is damaged"):
        run_experiment(settings, tmp_path / "run", resume=True)


def test_split_file_lists_the_shots(config: Any, tmp_path: Path, pictures: Path) -> None:
    record = run_experiment(config(protocol="base-to-new"), tmp_path / "run")
    split = read_split(tmp_path / "run" / "split.jsonl", pictures)
    assert (len(split.train), len(split.val), len(split.test)) == (record.split.train, record.split.val, 0)
    assert list(split.class_names) == record.class_names
    assert record.split.content == json.loads((tmp_path / "run" / "split.jsonl").open().readline())["content"]


def test_split_file_reproduces_the_run(config: Any, tmp_path: Path, pictures: Path) -> None:
    settings = config(data={"shots": 2}, seed=3)
    record = run_experiment(settings, tmp_path / "run")
    write_split(load_dataset(pictures).few_shot(2, seed=3), tmp_path / "split.jsonl")
    theirs = config(data={"shots": 2, "source": str(tmp_path / "split.jsonl"), "root": str(pictures)}, seed=3)
    again = run_experiment(theirs, tmp_path / "again")
    assert again.result_hash == record.result_hash
    assert again.training_hash == record.training_hash
    assert (again.split.hash, again.split.content) == (record.split.hash, record.split.content)
    one, other = ((tmp_path / name / "prompts.safetensors").read_bytes() for name in ("run", "again"))
    assert one == other
    assert again.metrics == record.metrics


def test_record_lists_classes_with_few_images(config: Any, tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "few")
    for file in sorted((tmp_path / "few" / "night").iterdir())[4:]:
        file.unlink()
    settings = config("zero-shot", data={"source": str(tmp_path / "few"), "shots": 5})
    assert run_experiment(settings, tmp_path / "run").split.short == {"night": 2}
    base = run_experiment(config("zero-shot", protocol="base-to-new"), tmp_path / "base")
    assert base.split.short == {}


def test_base_to_new_tests_both_halves(config: Any, tmp_path: Path) -> None:
    record = run_experiment(config(protocol="base-to-new"), tmp_path / "run")
    assert record.class_names == ["blue sky", "green leaf"]
    base, new = record.metrics["base"]["accuracy"], record.metrics["new"]["accuracy"]
    expected = 0 if base * new == 0 else 2 * base * new / (base + new)
    assert record.metrics["harmonic_mean"] == pytest.approx(expected)
    assert vlprompt.evaluate(tmp_path / "run", device="cpu")["base"] == record.metrics["base"]


@pytest.fixture
def others(tmp_path: Path, pictures: Path) -> dict[str, Path]:
    """Other datasets: with two of the four classes, with other classes, and without test images."""
    made = {
        "shifted": {"red_apple": "night", "night": "red_apple"},
        "foreign": {"wet_sand": "night", "red_apple": "red_apple"},
    }
    for name, classes in made.items():
        for new, old in classes.items():
            shutil.copytree(pictures / old, tmp_path / name / "test" / new)
    (tmp_path / "untested" / "train").mkdir(parents=True)
    return {name: tmp_path / name for name in made}


def test_targets_are_tested_under_their_names(
    config: Any, tmp_path: Path, others: dict[str, Path], pictures: Path
) -> None:
    targets = [str(path) for path in others.values()]
    record = run_experiment(config(protocol="cross-dataset", data={"targets": targets}), tmp_path / "run")
    assert list(record.tests) == ["source", "shifted", "foreign"]
    assert [test.dataset for test in record.tests.values()] == [pictures.name, "shifted", "foreign"]
    assert list(record.metrics) == ["source", "shifted", "foreign", "target_average"]
    assert list(record.metrics["foreign"]["class_accuracy"]) == ["red apple", "wet sand"]
    assert record.metrics["foreign"]["images"] == 24
    accuracies = [record.metrics[name]["accuracy"] for name in ("shifted", "foreign")]
    assert record.metrics["target_average"] == pytest.approx(sum(accuracies) / 2)
    assert list(record.config.data.targets) == targets
    found = vlprompt.evaluate(tmp_path / "run", device="cpu")
    assert {name: found[name] for name in record.metrics} == record.metrics
    alone = vlprompt.evaluate(tmp_path / "run", str(others["foreign"]), device="cpu")
    assert alone["test"] == record.metrics["foreign"]
    one, other = (
        with_method_defaults(config(protocol="cross-dataset", data={"targets": some}))
        for some in (targets, targets[:1])
    )
    assert open_task(one).result_hash == record.result_hash != open_task(other).result_hash


def test_targets_default_to_the_datasets_shifted_domains(
    config: Any, tmp_path: Path, others: dict[str, Path], pictures: Path
) -> None:
    pools = {str(pictures): replace(load_dataset(pictures), shifted=(str(others["shifted"]),))}
    settings = config("linear-probe", protocol="domain-generalization")
    record = run_experiment(settings, tmp_path / "run", pools=pools)
    assert record.config.data.targets == (str(others["shifted"]),)
    assert list(record.metrics["shifted"]["class_accuracy"]) == ["night", "red apple"]
    given = config("linear-probe", protocol="domain-generalization", data={"targets": [str(others["shifted"])]})
    assert open_task(with_method_defaults(given)).result_hash == record.result_hash


@pytest.mark.parametrize(
    ("protocol", "targets", "message"),
    [
        ("few-shot", ["shifted"], "`targets` .*shifted: `protocol` 'few-shot' tests only the dataset it learns from"),
        (
            "cross-dataset",
            [],
            "`protocol` 'cross-dataset' needs datasets to test on besides 'pictures0'; pass them as `targets`",
        ),
        ("domain-generalization", [], "needs datasets to test on besides 'pictures0'; pass them as `targets`"),
        ("domain-generalization", ["foreign"], "'pictures0' has no class 'wet sand', .*; use cross-dataset"),
        ("cross-dataset", ["shifted", "shifted"], "another test is already named 'shifted'"),
        ("cross-dataset", ["pictures"], "is the source dataset, which is always tested"),
        ("cross-dataset", ["no-such"], "no-such is neither an existing folder"),
    ],
)
def test_invalid_targets_raise(
    protocol: str,
    targets: list[str],
    message: str,
    config: Any,
    tmp_path: Path,
    others: dict[str, Path],
    pictures: Path,
) -> None:
    paths = [str(pictures if name == "pictures" else others.get(name, name)) for name in targets]
    with pytest.raises(VLPromptError, match=message):
        run_experiment(config(protocol=protocol, data={"targets": paths}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["coop", "dapt", "promptsrc", "tip-adapter-f", "e2mim"])
def test_prompts_are_copied_from_a_run_with_the_same_training(
    method: str, config: Any, tmp_path: Path, others: dict[str, Path]
) -> None:
    shifted = config(method, protocol="domain-generalization", data={"targets": [str(others["shifted"])]})
    first = run_experiment(config(method), tmp_path / "few-shot" / "run")
    whole = run_experiment(shifted, tmp_path / "whole")
    taken = run_experiment(shifted, tmp_path / "taken", prompts_from=tmp_path / "few-shot" / "run")
    assert first.training_hash == whole.training_hash == taken.training_hash
    assert (whole.prompts_from, taken.prompts_from) == (None, "../few-shot/run")
    assert taken.metrics == whole.metrics
    assert taken.metrics["source"] == first.metrics["test"]
    assert taken.history == first.history
    assert taken.trainable_parameters == whole.trainable_parameters
    assert taken.timings["train"] == first.timings["train"]
    one, other = ((tmp_path / name / "prompts.safetensors").read_bytes() for name in ("whole", "taken"))
    assert one == other


def test_prompts_are_not_copied_from_another_training(config: Any, tmp_path: Path) -> None:
    run_experiment(config(seed=2), tmp_path / "other")
    record = run_experiment(config(), tmp_path / "run", prompts_from=tmp_path / "other")
    assert record.prompts_from is None
    assert run_experiment(config(), tmp_path / "again", prompts_from=tmp_path / "gone").metrics == record.metrics


def test_class_specific_context_is_refused_before_training(config: Any, tmp_path: Path) -> None:
    settings = config(protocol="base-to-new", method={"class_specific": True})
    with pytest.raises(VLPromptError, match="cannot name new classes"):
        run_experiment(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bf16_is_close_to_fp32(config: Any, tmp_path: Path) -> None:
    exact = run_experiment(config("dapt"), tmp_path / "exact")
    rounded = run_experiment(config("dapt", backbone={"precision": "bf16"}), tmp_path / "rounded")
    assert rounded.history[-1].losses["total"] == pytest.approx(exact.history[-1].losses["total"], rel=0.05)
    assert rounded.backbone == exact.backbone
    assert rounded.result_hash != exact.result_hash
    prompts = load_file(tmp_path / "rounded" / "prompts.safetensors")
    assert {str(value.dtype) for value in prompts.values()} == {"torch.float32"}


def test_diverged_run_has_no_calibration(config: Any, tmp_path: Path) -> None:
    run_experiment(config(optim={"lr": 1e18}), tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert (record.status, record.calibration) == ("finished", None)
    with pytest.raises(VLPromptError, match=r"optim\.lr"):
        vlprompt.load_classifier(tmp_path / "run")


def test_zero_shot_is_a_run_without_training(config: Any, tmp_path: Path) -> None:
    record = run_experiment(config("zero-shot"), tmp_path / "run")
    assert (record.status, record.history, record.trainable_parameters) == ("finished", [], 0)
    assert vlprompt.evaluate(tmp_path / "run", device="cpu")["test"] == record.metrics["test"]


def test_evaluating_other_data_names_its_classes(config: Any, tmp_path: Path, pictures: Path) -> None:
    run_experiment(config(), tmp_path / "run")
    for name in ("red_apple", "night"):
        (tmp_path / "other" / name).mkdir(parents=True)
        for file in (pictures / name).iterdir():
            (tmp_path / "other" / name / file.name).write_bytes(file.read_bytes())
    found = vlprompt.evaluate(tmp_path / "run", str(tmp_path / "other"), device="cpu")
    assert found["dataset"] == "other"
    assert found["test"]["images"] < 24


@pytest.fixture
def own(config: Any, pictures: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of images that may be changed, and a run on it."""
    data = Path(shutil.copytree(pictures, tmp_path / "own"))
    run_experiment(config("zero-shot", data={"source": str(data)}), tmp_path / "run")
    return data, tmp_path / "run"


def add_image(data: Path) -> None:
    Image.new("RGB", (9, 9), "pink").save(data / "night/new.png")


def change_image(data: Path) -> None:
    for path in (data / "night").iterdir():
        Image.open(path).rotate(90).resize((9, 9)).save(path)


def remove_image(data: Path) -> None:
    (data / "night/00.png").unlink()


@pytest.mark.parametrize("change", [add_image, change_image, remove_image])
def test_evaluating_says_that_the_images_have_changed(
    change: Callable[[Path], None], own: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, run = own
    found = vlprompt.evaluate(run, device="cpu")
    assert found["test"] == read_record(run).metrics["test"]
    assert "changed" not in caplog.text
    change(data)
    vlprompt.evaluate(run, device="cpu")
    assert caplog.messages[-1] == f"{data} has changed since the run; its current images are tested"


def recolor(root: Path) -> int:
    """Draw other images in place of those in the class folders, and return their number."""
    images = sorted(root.glob("*/*.png"))
    for number, path in enumerate(images):
        Image.new("RGB", (30, 20), (number, 180, 7)).save(path)
    return len(images)


def test_all_images_of_a_folder_are_tested(
    own: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, run = own
    for name in ("red_apple", "night"):
        (tmp_path / "more" / name).mkdir(parents=True)
        for number in range(7):
            Image.new("RGB", (30, 20), (number, 90, len(name))).save(tmp_path / f"more/{name}/{number}.png")
    more = str(tmp_path / "more")
    with caplog.at_level("INFO", logger="vlprompt"):
        assert vlprompt.evaluate(run, more, device="cpu")["test"]["images"] == 14
        assert caplog.messages[-1] == "testing all 14 images of more"
        assert vlprompt.evaluate(run, more, exclude=["0.png"], device="cpu")["test"]["images"] == 12
        classifier = vlprompt.load_classifier(run, device="cpu")
        assert classifier.evaluate(more, quiet=True)["images"] == 14
        assert classifier.evaluate(more, exclude=["0.png"], quiet=True)["images"] == 12
        learned = [json.loads(line)["path"] for line in (run / "split.jsonl").read_text().splitlines()[1:]]
        shutil.copy(data / learned[0], tmp_path / "more/night/again.png")
        assert vlprompt.evaluate(run, more, device="cpu")["test"]["images"] == 14
        assert caplog.messages[-1] == "testing all 15 images of more except 1 that the run learned from"
        assert vlprompt.evaluate(run, str(data), device="cpu")["test"] == read_record(run).metrics["test"]
        assert caplog.messages[-1] == "testing the 16 test images of own"
        (tmp_path / "split/train").parent.mkdir()
        shutil.copytree(more, tmp_path / "split/train")
        recolor(tmp_path / "split/train")
        shutil.copytree(more, tmp_path / "split/Test")
        (tmp_path / "split/Test/night/again.png").unlink()
        assert vlprompt.evaluate(run, str(tmp_path / "split"), device="cpu")["test"]["images"] == 14
        assert caplog.messages[-1] == "testing the 14 test images of split"
    with pytest.raises(VLPromptError, match="`exclude` applies only to another dataset; pass one as `data`"):
        vlprompt.evaluate(run, exclude=["0.png"], device="cpu")


def test_all_images_of_a_folder_with_the_same_names_are_tested(
    own: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, run = own
    shutil.copytree(data, tmp_path / "later")
    shutil.copytree(data, tmp_path / "moved")
    count = recolor(tmp_path / "later")
    with caplog.at_level("INFO", logger="vlprompt"):
        assert vlprompt.evaluate(run, str(tmp_path / "later"), device="cpu")["test"]["images"] == count
        assert caplog.messages[-1] == f"testing all {count} images of later"
        found = vlprompt.evaluate(run, str(tmp_path / "moved"), device="cpu")
    assert found["test"] == read_record(run).metrics["test"], "the same images, and the same split"


def test_excluded_images_are_recorded(config: Any, pictures: Path, tmp_path: Path) -> None:
    excluded = config("zero-shot", data={"exclude": ["0?.png"]})
    record = run_experiment(excluded, tmp_path / "run")
    assert (record.split.test, record.config.data.exclude) == (4, ("0?.png",))
    assert vlprompt.evaluate(tmp_path / "run", device="cpu")["test"] == record.metrics["test"]
    assert run_experiment(excluded, tmp_path / "run", resume=True) == record
    whole = run_experiment(config("zero-shot", data={"exclude": ["no such file"]}), tmp_path / "whole")
    assert whole.result_hash == run_experiment(config("zero-shot"), tmp_path / "plain").result_hash


def test_record_says_that_validation_images_were_tested(config: Any, pictures: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(pictures, tmp_path / "d" / split)
    recolor(tmp_path / "d/train")
    record = run_experiment(config("zero-shot", data={"source": str(tmp_path / "d")}), tmp_path / "run")
    assert (record.split.tested_on, record.split.val, record.split.test) == ("val", 16, 48)


def test_different_weights_are_refused(config: Any, tmp_path: Path, weights: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    run_experiment(config(backbone={"source": str(copy)}), tmp_path / "run")
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(bytes(content))
    with pytest.raises(VLPromptError, match="was tuned with different weights than"):
        vlprompt.evaluate(tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    ("method", "runtime", "used"),
    [
        ("dapt", {}, ("packed", 0, 16)),
        ("dapt", {"workers": 2}, ("packed", 2, 16)),
        ("dapt", {"workers": 2, "image_cache_mb": 0}, ("packed", 2, 0)),
        ("dapt", {"text_layout": "padded", "image_cache_mb": 1}, ("padded", 0, 16)),
        ("coop", {"workers": 2}, ("packed", 2, 0)),
    ],
)
def test_runtime_settings_do_not_change_the_result(
    method: str, runtime: dict[str, Any], used: tuple[str, int, int], config: Any, tmp_path: Path
) -> None:
    alone = run_experiment(config(method, runtime={"image_cache_mb": 0}), tmp_path / "alone")
    other = run_experiment(config(method, runtime=runtime), tmp_path / "other")
    rounding = 1e-4 if used[0] == "padded" else 0.0
    for one, another in zip(alone.history, other.history, strict=True):
        assert another.losses == pytest.approx(one.losses, rel=rounding, abs=0)
    assert alone.result_hash == other.result_hash
    assert (other.execution.text_layout, other.execution.readers, other.execution.cached_images) == used


def test_image_cache_that_holds_no_image_is_refused(config: Any, tmp_path: Path) -> None:
    for name in ("ant", "oak"):
        for number in range(3):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2000, 250), (number, len(name), 9)).save(tmp_path / "data" / name / f"{number}.png")
    large = config("dapt", data={"source": str(tmp_path / "data"), "shots": 1}, runtime={"image_cache_mb": 1})
    with pytest.raises(VLPromptError, match=r"runtime.image_cache_mb=1 has no room for one image, 1.5 MB; allow more"):
        run_experiment(large, tmp_path / "run")


def test_cached_features_and_new_views_differ(config: Any, tmp_path: Path) -> None:
    online = run_experiment(config("coop", data={"views": 0}), tmp_path / "online")
    assert online.status == "finished"
    assert online.result_hash != run_experiment(config("coop"), tmp_path / "cached").result_hash


OPTIONS = {"preprocess": {"mean": [0, 0, 0], "std": [1, 1, 1]}, "quick_gelu": False, "heads": [2, 4]}


def test_backbone_options_are_recorded_and_used_again(
    config: Any, tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run_experiment(config("zero-shot"), tmp_path / "plain")
    record = run_experiment(config("zero-shot", backbone=OPTIONS), tmp_path / "run")
    assert record.result_hash != plain.result_hash
    assert record.config.backbone.model_dump(mode="json", include=set(OPTIONS)) == {
        "heads": [2, 4],
        "quick_gelu": False,
        "preprocess": {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    backbone = restore(tmp_path / "run")[1].backbone
    assert (backbone.eval_transform.mean, backbone.train_transform.std) == ((0, 0, 0), (1, 1, 1))
    assert backbone.text.blocks[0].heads == 2
    assert evaluate(tmp_path / "run")["test"] == record.metrics["test"]
    assert not caplog.text
    # The same weights, loaded in another way: neither cached features nor a warning may be missing.
    other = run_experiment(config("zero-shot", backbone=OPTIONS | {"heads": [1, 2]}), tmp_path / "heads")
    uncached = vlprompt.load_backbone(weights, device="cpu", **OPTIONS | {"heads": [1, 2]})
    assert uncached.function_hash != backbone.function_hash
    assert other.metrics["test"] != record.metrics["test"]
    restore(tmp_path / "run", backbone=uncached)
    assert "was tuned with another activation, or another number of attention heads" in caplog.text


def test_options_of_a_loaded_backbone_are_recorded(config: Any, tmp_path: Path, weights: Path, pictures: Path) -> None:
    backbone = vlprompt.load_backbone(weights, device="cpu", **OPTIONS)
    tuned = vlprompt.tune(pictures, method="zero-shot", backbone=backbone, device="cpu", out=tmp_path / "run")
    assert tuned.record.config.backbone.options == backbone.settings
    assert restore(tmp_path / "run")[1].backbone.preprocessing == backbone.preprocessing
    with pytest.raises(VLPromptError, match=r"`backbone.quick_gelu` applies when a backbone is loaded"):
        run_experiment(
            config("zero-shot", backbone={"quick_gelu": True}),
            tmp_path / "other",
            backbone=vlprompt.load_backbone(weights, device="cpu"),
        )
