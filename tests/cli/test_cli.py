"""The command line as scripts see it: words, output, exit codes, one-line errors."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.command_line import Call
from tests.helpers.weights import write_weights
from vlprompt import cli
from vlprompt.config.recipes import list_recipes
from vlprompt.config.schema import RunConfig
from vlprompt.experiments.engines import worker
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord


@pytest.fixture(scope="module")
def fast() -> list[str]:
    """Settings that make a run take a second."""
    return ["--set", "optim.epochs=2", "--set", "optim.batch_size=8", "--shots", "4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path, fast: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    words = ["vlprompt", "tune", pictures, "--backbone", weights, "--out", folder, "--quiet", *fast]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", list(map(str, words)))
        cli.main()
    assert stop.value.code == 0
    return folder


def test_tune_then_evaluate_agree(call: Call, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    code, out, _ = call("evaluate", run, "--json", "--device", "cpu")
    found = json.loads(out)
    assert code == 0
    assert (found["method"], found["run"]) == ("dapt", str(run))
    assert found["test"] == record["metrics"]["test"]


def test_dry_run_prints_a_run_that_can_be_run(call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    code, out, _ = call("tune", pictures, "--backbone", weights, "--method", "coop", "--shots", 2, "--dry-run")
    resolved = yaml.safe_load(out)
    assert code == 0
    assert "4 classes; trains on 8 images of 4 classes; tests on 16 (test)" in out
    assert resolved["method"]["n_ctx"] == 16
    assert resolved["data"]["shots"] == 2
    recipe = tmp_path / "again.yaml"
    recipe.write_text(out)
    again = yaml.safe_load(call("tune", pictures, "--recipe", recipe, "--dry-run")[1])
    assert again == resolved | {"recipe": "again.yaml"}


def test_a_runs_weights_may_have_moved(
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
        assert err.endswith("; if the run's weights lie elsewhere, say where with --backbone\n")
        if words[0] != "serve":  # which would not end
            assert call(*words, "--backbone", now)[0] == 0
    other = write_weights(tmp_path / "other.safetensors", layers=3)
    assert "was tuned on other weights than those of" in call("evaluate", run, "--backbone", other)[2]


def test_a_template_needs_no_quoting(call: Call, pictures: Path, weights: Path) -> None:
    words = ["--backbone", weights, "--shots", 1, "--set", "method.template={} texture.", "--dry-run"]
    assert yaml.safe_load(call("tune", pictures, *words)[1])["method"]["template"] == "{} texture."


@pytest.mark.parametrize("recipe", list_recipes())
def test_every_recipe_resolves(recipe: str, call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    method, protocol = recipe.replace("published/", "few-shot/").replace("unified/", "dapt/").split("/")[:2]
    words = ["--shots", 1, "--dry-run", "--backbone", weights]
    if protocol == "cross-dataset":  # with another dataset, and prompts at more layers than the random model has
        words[-1] = "embedded"
        words += ["--targets", shutil.copytree(pictures, tmp_path / "other")]
    code, out, _ = call("tune", pictures, "--recipe", recipe, *words)
    resolved = yaml.safe_load(out)
    assert (code, resolved["method"]["name"], resolved["protocol"]) == (0, method, protocol)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "cooop"], "unknown method 'cooop'; did you mean 'coop'?"),
        (["--set", "method.betta=1"], "method 'dapt' has no option 'betta'; it has: template, n_text"),
        (["--set", "method.beta_text=-1"], "method.beta_text=-1: Input should be greater than or equal to 0"),
        (["--set", "optim.epoch=3"], "there is no option 'optim.epoch'; section 'optim' has: optimizer, lr, epochs"),
        (["--set", "optim.lr=fast"], "optim.lr='fast': Input should be a valid number"),
        (["--set", "optim.lr"], "--set optim.lr: write it as KEY=VALUE"),
        (["--set", "data.crop_scale=[0.9, 0.1]"], "must be two shares with 0 < least <= most <= 1"),
        (["--shots", "0"], "data.shots=0: Input should be greater than or equal to 1"),
        (["--shots", "many"], "Invalid value for '--shots'"),
        (["--recipe", "dapt/fewshot"], "--recipe dapt/fewshot: did you mean 'dapt/few-shot'?"),
        (["--recipe", "none.yaml"], "--recipe none.yaml: there is no such file"),
        (
            ["--protocol", "one-shot"],
            "protocol='one-shot': Input should be 'few-shot', 'base-to-new', 'cross-dataset' or",
        ),
        (["--protocol", "cross-dataset"], "tests other datasets than 'pictures0'; name them with --targets A,B"),
        (["--targets", "openmoji"], "--targets openmoji: protocol 'few-shot' tests the dataset it learns from alone"),
        (["--device", "cuda"], "device 'cuda' is not available here; use --device cpu"),
        (["--device", "tpu9"], "device 'tpu9' is not known"),
        (["--set", "backbone.precision=fp16", "--device", "cpu"], "precision 'fp16' does not work on a CPU"),
        (["--backbone", "ViT-B-16/opnai"], "ViT-B-16"),
        (["--frobnicate"], "No such option: --frobnicate"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(
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


def test_folders_that_are_no_runs(call: Call, tmp_path: Path) -> None:
    for command in (["evaluate"], ["info"], ["predict"]):
        images = ["x.png"] if command == ["predict"] else []
        code, _, err = call(*command, tmp_path, *images)
        assert code == 2
        assert "is not a run: it has no run.json; make one with `vlprompt tune`" in err


def test_data_that_is_not_there(call: Call) -> None:
    code, _, err = call("tune", "no-such-folder")
    assert code == 2
    assert "no-such-folder is no folder here and no dataset; datasets: " in err


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"{version('vlprompt')}\n", "")


def test_list(call: Call) -> None:
    methods = json.loads(call("list", "methods", "--json")[1])
    assert {"coop", "dapt", "zero-shot"} <= {method["name"] for method in methods}
    assert all(option["about"] for method in methods for option in method["options"])
    words = call("list", "methods")[1]
    assert "n_visual = 16" in words
    assert "critic = cosine (cosine, bilinear, mlp)" in words
    assert "openmoji-line" in call("list", "datasets")[1].split()
    assert "dapt/base-to-new" in call("list", "recipes")[1].split()
    backbones = call("list", "backbones")[1]
    assert backbones.startswith("embedded")
    assert "ViT-B-16/openai" in backbones
    assert "coca_ViT-B-32" not in backbones


def test_info(call: Call, run: Path) -> None:
    code, out, _ = call("info", run)
    assert code == 0
    assert f"{run}: finished, 2 of 2 epochs" in out
    assert "16 training, 16 validation" in out or "16 training" in out
    assert json.loads(call("info", run, "--json")[1])["status"] == "finished"


def test_a_grid_ends_with_its_table_and_is_not_run_twice(call: Call, pictures: Path, tmp_path: Path) -> None:
    words = ["run", "few-shot", "--methods", "coop,dapt[n_text=2]", "--datasets", pictures, "--shots", 1]
    words += ["--seeds", "1,2", "--backbone", "embedded", "--recipe", "unified", "--set", "optim.epochs=1"]
    words += ["--set", "data.views=1", "--out", tmp_path / "grid"]
    code, out, err = call(*words, "--dry-run")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "dapt,n_text=2/shots-1/seed-2  to run" in out
    assert re.search(r"4 cells: 0 finished, 4 to run; (less than a minute|about)", err)
    assert not (tmp_path / "grid").exists()

    code, table, err = call(*words)
    assert code == 0
    assert "4/4  pictures0, dapt[n_text=2], 1 shot, seed 2: test " in err
    assert "few-shot, recipe unified, optim.epochs=1, data.views=1, backbone pictoclip fp32" in table
    assert table.count("2/2") == 2
    code, again, err = call(*words)
    assert (code, again) == (0, table)
    assert err.startswith("4 cells: 4 finished, 0 to run\n")
    assert call("table", tmp_path)[:2] == (0, table)

    markdown = call("table", tmp_path, "--format", "markdown", "--intervals")[1]
    assert "| `dapt[n_text=2]` |" in markdown
    assert "95% interval" in markdown
    assert call("table", tmp_path, "--format", "csv")[1].startswith("protocol,backbone,weights,")

    record = tmp_path / "grid/few-shot/pictures0/coop/shots-1/seed-1/run.json"
    record.write_text("{")
    code, table, err = call(*words)
    assert code == 1
    assert "failed: pictures0, coop, 1 shot, seed 1: " in err
    assert err.endswith("1 of 4 cells failed\n")
    code, table, err = call("table", tmp_path)
    assert code == 0
    assert "1/2 seeds" in table
    assert err.startswith("left out: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base-to-new", "--methods", "coop,linear-probe,tip-adapter"], "--methods linear-probe, tip-adapter: with"),
        (["few-shot", "--methods", "coop[n_ctx=4"], "a bracket or quote is not closed"),
        (["few-shot", "--methods", "coop", "--shots", "one"], "--shots one: write whole numbers"),
        (["few-shot", "--methods", ","], "a grid needs a method"),
        (["cross-dataset", "--methods", "coop"], "tests other datasets than 'pictures0'; name them with --targets A,B"),
        (["one-shot", "--methods", "coop"], "protocol='one-shot': Input should be 'few-shot', 'base-to-new',"),
    ],
)
def test_mistakes_in_a_grid_are_one_line(
    words: list[str], message: str, call: Call, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    code, out, err = call("run", *words, "--datasets", pictures, "--backbone", weights, "--out", tmp_path / "grid")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "grid").exists()


def test_a_split_is_written_verified_and_learned_from(
    call: Call, run: Path, pictures: Path, weights: Path, fast: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "split.jsonl"
    code, out, err = call("data", "split", pictures, "--shots", 4, "--seed", 1, "--out", file)
    assert (code, err) == (0, "")
    assert out.endswith(f"next: vlprompt tune {file} --root {pictures}\n")
    assert "exists; choose another file" in call("data", "split", pictures, "--out", file)[2]
    assert "a split is a .jsonl file" in call("data", "split", pictures, "--out", tmp_path / "split.txt")[2]
    words = ["tune", file, "--root", pictures, "--backbone", weights, "--out", tmp_path / "run", "--quiet", *fast]
    assert call(*words)[0] == 0
    theirs, ours = (json.loads((folder / "run.json").read_text()) for folder in (tmp_path / "run", run))
    assert theirs["result_hash"] == ours["result_hash"]

    assert call("data", "verify", file, "--root", pictures, "--quiet") == (0, "", "")
    assert call("data", "verify", run / "split.jsonl", "--root", pictures, "--json")[:2] == (0, "{}\n")
    moved = shutil.copytree(pictures, tmp_path / "moved")
    assert call("evaluate", tmp_path / "run", "--root", moved, "--json")[0] == 0
    lost = json.loads(file.read_text().splitlines()[1])["path"]
    (moved / lost).unlink()
    assert call("data", "verify", file, "--root", moved)[:2] == (1, f"{lost} is not there\n")
    code, _, err = call("evaluate", tmp_path / "run", "--root", moved)
    assert code == 2
    assert f"the first is {lost}; give their folder with --root" in err


def test_a_split_of_absolute_paths_is_no_use_to_others(call: Call, pictures: Path, tmp_path: Path) -> None:
    lines = [f"{pictures / name / f'{n:02}.png'},{name}" for name in ("night", "blue_sky") for n in range(12)]
    (tmp_path / "mine.csv").write_text("\n".join(["path,label", *lines]))
    code, _, err = call("data", "split", tmp_path / "mine.csv", "--out", tmp_path / "split.jsonl")
    assert code == 2
    assert "a path of this machine alone; write relative ones into it" in err


def test_an_interrupted_grid_goes_on_with_the_same_command(
    call: Call, pictures: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "few-shot", "--methods", "zero-shot", "--datasets", pictures, "--backbone", weights]
    words += ["--seeds", "1,2", "--shots", 1, "--out", tmp_path / "grid"]

    def second_is_cut(config: RunConfig, *words: Any, **keywords: Any) -> RunRecord:
        if config.seed == 2:
            raise KeyboardInterrupt
        return run_experiment(config, *words, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_experiment", second_is_cut)
        code, out, err = call(*words)
    assert (code, out) == (130, "")
    assert err.endswith(f"interrupted; go on with the same command (--out {tmp_path / 'grid'})\n")
    code, out, err = call(*words)
    assert code == 0
    assert err.startswith("2 cells: 1 finished, 1 to run; ")
    assert "2/2" in out


@pytest.mark.parametrize(
    "command",
    ["tune", "run", "table", "evaluate", "predict", "data split", "data verify", "list", "info", "quickstart"],
)
def test_help_has_examples(command: str, call: Call) -> None:
    code, out, _ = call(*command.split(), "--help")
    assert code == 0
    assert "Examples:" in out
    assert f"vlprompt {command}" in out


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, vlprompt.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_signal_leaves_a_run_that_goes_on(call: Call, pictures: Path, weights: Path, tmp_path: Path) -> None:
    words = ["tune", pictures, "--backbone", weights, "--out", tmp_path / "run", "--set", "optim.epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vlprompt.cli", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    state = tmp_path / "run" / "state.safetensors"
    deadline = time.monotonic() + 300
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # handled as Ctrl-C is
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; go on with the same command and --resume" in err
    assert "Traceback" not in err
    code, out, _ = call("info", tmp_path / "run", "--json")
    assert (code, json.loads(out)["status"]) == (0, "interrupted")
    assert call("evaluate", tmp_path / "run", "--json")[0] == 0
