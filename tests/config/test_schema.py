import math
from pathlib import Path

import pytest
import yaml

from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.errors import VLPromptError


def make(**changes: object) -> RunConfig:
    return parse_config({"method": {"name": "dapt"}, "data": {"source": "openmoji"}, **changes})


def test_the_hash_covers_results_and_not_where_or_how_fast() -> None:
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
        make(data={"source": "openmoji", "flip": False}).result_hash("weights", "split"),
        run.with_template("a {}.").result_hash("weights", "split"),
    ]
    assert len({base, *others}) == 11


def test_runs_that_learn_the_same_have_the_same_training_hash() -> None:
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


def test_a_run_survives_being_written_down() -> None:
    run = make(optim={"optimizer": "adamw"}).with_template("an icon of a {}.")
    assert parse_config(yaml.safe_load(yaml.safe_dump(run.model_dump(mode="json")))) == run


def test_the_template_is_the_datasets_unless_it_is_given() -> None:
    assert "template" not in make().method.options
    assert make().with_template("a {}.").method.options["template"] == "a {}."
    given = make(method={"name": "dapt", "template": ["x {}", "y {}"]})
    assert given.with_template("a {}.").method.options["template"] == ["x {}", "y {}"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(VLPromptError, match=r"option 'data' is missing; give it with --set data=\.\.\."):
        parse_config({"method": {"name": "dapt"}})
    with pytest.raises(VLPromptError, match="there is no option 'sed'; a run has: seed, protocol"):
        make(sed=3)


@pytest.mark.parametrize(("section", "key"), [("optim", "lr"), ("optim", "eps"), ("data", "shots")])
def test_numbers_are_finite(section: str, key: str) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(VLPromptError, match=f"{section}.{key}={value}: Input should be a finite number"):
            make(**{section: {"source": "openmoji", key: value} if section == "data" else {key: value}})


def test_a_folder_is_called_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path / "birds")
    assert make(data={"source": "."}).data.source == str(tmp_path / "birds")
    assert make(data={"source": ".."}).data.source == str(tmp_path)
    assert make(data={"source": "../birds/"}).data.source == "../birds/"
