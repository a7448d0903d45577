"""Schema: hashes, errors and compatibility with old files."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.errors import VLPromptError

pytestmark = pytest.mark.usefixtures("without_photos")


def make(**changes: object) -> RunConfig:
    return parse_config({"method": {"name": "dapt"}, "data": {"source": "openmoji"}, **changes})


def test_result_hash_ignores_paths_and_runtime() -> None:
    run = make()
    base = run.result_hash("weights", "split")
    assert make(runtime={"threads": 2, "device": "cpu"}).result_hash("weights", "split") == base
    elsewhere = {"source": "elsewhere", "targets": ["there"], "root": "data"}
    assert make(data=elsewhere).result_hash("weights", "split") == base
    assert make(backbone={"source": "a/copy"}).result_hash("weights", "split") == base
    others = [
        run.result_hash("other weights", "split"),
        run.result_hash("weights", "other split"),
        run.result_hash("weights", "split", {"open": "tests"}),
        make(seed=2).result_hash("weights", "split"),
        make(protocol="base-to-new").result_hash("weights", "split"),
        make(optim={"lr": 1}).result_hash("weights", "split"),
        make(method={"name": "dapt", "n_text": 4}).result_hash("weights", "split"),
        make(backbone={"precision": "bf16"}).result_hash("weights", "split"),
        make(backbone={"quick_gelu": False}).result_hash("weights", "split"),
        make(backbone={"preprocess": {"resize_mode": "squash"}}).result_hash("weights", "split"),
        make(data={"source": "openmoji", "flip": False}).result_hash("weights", "split"),
        run.with_template("a {}.").result_hash("weights", "split"),
    ]
    assert len({base, *others}) == 13


def test_backbone_options_change_no_hash_of_runs_without_them() -> None:
    content = make().model_copy(update={"recipe": "paper"})._content()
    assert content["backbone"] == {"precision": "fp32"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"mean": [5, 0, 0]}, r"backbone.preprocess is not valid \(mean.0: must be at most 1, got 5"),
        ([0.5, 0.5], "backbone.preprocess must be an open_clip pair NAME/TAG, or a mapping of mean, std"),
        ({"size": 3}, "size is unknown"),
    ],
)
def test_wrong_preprocess(value: object, message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        make(backbone={"preprocess": value})


def test_training_hash_ignores_the_protocol() -> None:
    base = make().training_hash("weights", "shots")
    for same in (
        make(protocol="cross-dataset"),
        make(data={"source": "elsewhere", "targets": ["a"], "root": "b", "shots": 20, "split_seed": 3}),
        make(runtime={"threads": 2}),
    ):
        assert same.training_hash("weights", "shots") == base
    others = [
        make().training_hash("other weights", "shots"),
        make().training_hash("weights", "other shots"),
        make(seed=2).training_hash("weights", "shots"),
        make(optim={"lr": 1}).training_hash("weights", "shots"),
        make(data={"source": "openmoji", "views": 1}).training_hash("weights", "shots"),
        make().with_template("a {}.").training_hash("weights", "shots"),
    ]
    assert len({base, *others}) == 7


def test_config_json_round_trip() -> None:
    run = make(optim={"optimizer": "adamw"}).with_template("an icon of a {}.")
    assert parse_config(yaml.safe_load(yaml.safe_dump(run.model_dump(mode="json")))) == run


def test_template_defaults_to_the_datasets() -> None:
    assert "template" not in make().method.options
    assert make().with_template("a {}.").method.options["template"] == "a {}."
    given = make(method={"name": "dapt", "template": ["x {}", "y {}"]})
    assert given.with_template("a {}.").method.options["template"] == ["x {}", "y {}"]


def test_missing_and_unknown_settings_are_named() -> None:
    with pytest.raises(VLPromptError, match="setting data is missing"):
        parse_config({"method": {"name": "dapt"}})
    with pytest.raises(VLPromptError, match=r"unknown setting sed; did you mean 'seed'\?"):
        make(sed=3)
    with pytest.raises(VLPromptError, match=r"unknown setting optim.foo; known: optimizer, lr, epochs"):
        make(optim={"foo": 3})
    with pytest.raises(VLPromptError, match=r"^unknown setting a\\nb; [^\n]*$"):
        make(**{"a\nb": 3})
    with pytest.raises(
        VLPromptError, match=r"data.crop_scale must be two fractions with 0 < minimum <= maximum <= 1, got \[0.5, 0.4\]"
    ):
        make(data={"source": "openmoji", "crop_scale": [0.5, 0.4]})


def test_class_names_is_an_alias_of_name_map() -> None:
    for key in ("name_map", "class_names"):
        config = make(data={"source": "birds", key: "names.csv"})
        assert config.data.name_map == "names.csv"
        assert config.model_dump(mode="json")["data"]["name_map"] == "names.csv"
        assert config.result_hash("", "") == make().result_hash("", "")


def test_hashes_of_old_records_are_stable() -> None:
    """Use records of earlier versions, one for each method."""
    records = json.loads((Path(__file__).parent / "records.json").read_text())
    assert len(records) > 10
    for record in records:
        config, inputs = RunConfig.model_validate(record["config"]), record["inputs"]
        assert config.result_hash(inputs["weights"], inputs["shots"], inputs["tests"]) == record["result_hash"]
        assert config.training_hash(inputs["weights"], inputs["shots"]) == record["training_hash"]
        labeled = config.model_copy(update={"recipe": "unified", "overrides": {"optim.lr": 1}})
        assert labeled.result_hash(inputs["weights"], inputs["shots"], inputs["tests"]) == record["result_hash"]


def test_importing_the_schema_is_lightweight() -> None:
    modules = "vlprompt.config.schema, vlprompt.config.resolve, vlprompt.runs.record, vlprompt.runs.labels"
    heavy = "[name for name in ('torch', 'numpy', 'PIL', 'scipy', 'polars', 'vlprompt.methods') if name in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print({heavy})"], capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(("section", "key"), [("optim", "lr"), ("optim", "eps"), ("data", "shots")])
def test_numbers_are_finite(section: str, key: str) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(VLPromptError, match=f"{section}.{key} must be a finite number, got {value}"):
            make(**{section: {"source": "openmoji", key: value} if section == "data" else {key: value}})


def test_relative_source_is_resolved_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path / "birds")
    assert make(data={"source": "."}).data.source == str(tmp_path / "birds")
    assert make(data={"source": ".."}).data.source == str(tmp_path)
    assert make(data={"source": "../birds/"}).data.source == "../birds/"
