"""docs/results.md matches the records in results/, which are complete."""

import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from tools import results

from tests.helpers.records import write_run
from vlprompt import load_backbone
from vlprompt.config.recipes import PHOTOS, UNIFIED, list_recipes
from vlprompt.results.collect import Run, find_runs

BOUND = {"linear-probe", "tip-adapter", "tip-adapter-f"}
ABLATED = {
    "dapt[beta_text=0]", "dapt[beta_visual=0]", "mudpt[direction=text-to-visual]", "mudpt[fusion=linear]",
    "e2mim[lambda_aug=0]", "e2mim[lambda_mi=0]", "e2mim[r=0]",
}  # fmt: skip
SEEDS = 3


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    found, problems = find_runs([results.RECORDS])
    assert not problems
    return found


def test_tables_match_the_records(runs: list[Run]) -> None:
    text = results.PAGE.read_text(encoding="utf-8")
    # The last digit of an interval may differ between processors.
    exact = re.sub(r"<!-- (?:compare|claims)[ :].*?<!-- end -->\n", "", text, flags=re.DOTALL)
    assert results.page(exact, runs) == exact
    assert "<!-- compare: " in text


def test_table_of_the_readme_matches_the_records(runs: list[Run]) -> None:
    text = results.README.read_text(encoding="utf-8")
    assert "<!-- averages: " in text
    assert results.page(text, runs) == text


def test_figures_exist() -> None:
    named = re.findall(r"\]\(images/([^)]+)\)", results.PAGE.read_text(encoding="utf-8"))
    assert named
    for name in named:
        assert (results.FIGURES / name).is_file()


def test_benchmark_is_complete(runs: list[Run]) -> None:
    """Every method that a protocol supports has all seeds with the bundled model."""
    assert all(run.finished for run in runs)
    assert {run.conditions.weights for run in runs} == {load_backbone("embedded", device="cpu").weight_hash}
    learning = {recipe.partition("/")[0] for recipe in list_recipes()} - {PHOTOS, UNIFIED}
    grids = {
        ("unified", "base-to-new"): (3, learning - BOUND | ABLATED),
        ("unified", "few-shot"): (3, learning),
        ("unified", "cross-dataset"): (1, learning - BOUND),
        ("unified", "domain-generalization"): (1, learning),
        ("paper", "base-to-new"): (1, {"zero-shot", "coop", "dapt", "mudpt", "e2mim"}),
        ("paper", "few-shot"): (3, {"zero-shot", "coop", "dapt"}),
    }
    counts = Counter((results.recipe_name(run), run.record.config.protocol, run.method) for run in runs)
    assert counts == {
        (recipe, protocol, method): SEEDS * places
        for (recipe, protocol), (places, methods) in grids.items()
        for method in methods
    }


def test_finished_grids_are_packed(tmp_path: Path) -> None:
    grids = tmp_path / "grids"
    for seed, status in ((1, "finished"), (2, "interrupted"), (3, "finished")):
        write_run(grids / "unified" / "few-shot" / f"seed-{seed}", seed=seed, status=status, test=10)
    write_run(grids / "paper" / "base-to-new" / "seed-1", protocol="base-to-new", recipe="paper", base=10, new=9)
    (grids / "unified" / "few-shot" / "seed-1" / "prompts.safetensors").write_bytes(b"")
    few_shot, base_to_new = tmp_path / "unified-few-shot.zip", tmp_path / "paper-base-to-new.zip"
    assert results.pack(grids, tmp_path) == {few_shot: 2, base_to_new: 1}
    with zipfile.ZipFile(few_shot) as archive:
        kept = [f"unified/few-shot/seed-{seed}/{name}" for seed in (1, 3) for name in sorted(results.KEPT)]
        assert archive.namelist() == kept
    before = few_shot.read_bytes()
    results.pack(grids, tmp_path)
    assert few_shot.read_bytes() == before, "the same runs give the same bytes"
    assert len(find_runs([few_shot])[0]) == 2


def test_claims_are_judged_by_their_interval(tmp_path: Path) -> None:
    answers = {
        "zero-shot": {"base": [True] * 40 + [False] * 60, "new": [True] * 50 + [False] * 50},
        "coop": {"base": [True] * 80 + [False] * 20, "new": [True] * 49 + [False] * 51},
        "kgcoop": {"base": [True] * 60 + [False] * 40, "new": [True] * 20 + [False] * 80},
    }
    for method, right in answers.items():
        for seed in (1, 2):
            folder = tmp_path / method / str(seed)
            write_run(folder, method, protocol="base-to-new", recipe="unified", seed=seed, **right)
    runs, _ = find_runs([tmp_path])
    text = results.page("<!-- claims -->\n", runs)
    rows = {cells[1]: cells[5] for line in text.splitlines() if len(cells := [c.strip() for c in line.split("|")]) > 5}
    assert rows["CoOp gains on base classes"] == "yes"
    assert rows["CoOp loses new classes"] == "undecided"
    assert rows["KgCoOp keeps more of them than CoOp"] == "no, the opposite"
    assert rows["MaPLe has a better harmonic mean than IVLP"] == "not run"


def test_wall_time_ignores_pauses_and_overlaps(tmp_path: Path) -> None:
    times = [("01:00:00", "02:00:00"), ("01:30:00", "02:30:00"), ("01:45:00", "02:00:00"), ("05:00:00", "05:30:00")]
    for seed, (started, ended) in enumerate(times, start=1):
        record = write_run(tmp_path / str(seed), seed=seed, test=10)
        day = "2026-01-02T{}+00:00"
        record.model_copy(update={"started": day.format(started), "ended": day.format(ended)}).write(
            tmp_path / str(seed)
        )
    runs, _ = find_runs([tmp_path])
    assert "in 2.0 hours of wall time" in " ".join(results.page("<!-- cost -->\n", runs).split())
