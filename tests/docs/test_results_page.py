"""docs/results.md says what the records in results/ say, and they are whole."""

import re
from collections import Counter
from pathlib import Path

import pytest
from tools import results

from tests.helpers.records import write_run
from vlprompt import load_backbone
from vlprompt.config.recipes import list_recipes
from vlprompt.config.resolve import UNIFIED
from vlprompt.results.collect import Run, find_runs

BOUND = {"linear-probe", "tip-adapter", "tip-adapter-f"}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    found, problems = find_runs([results.RECORDS])
    assert not problems
    return found


def test_the_tables_are_those_of_the_records(runs: list[Run]) -> None:
    text = results.PAGE.read_text(encoding="utf-8")
    # Of intervals the last digit may depend on how a processor adds.
    exact = re.sub(r"<!-- compare: .*?<!-- end -->\n", "", text, flags=re.DOTALL)
    assert results.page(exact, runs) == exact
    assert "<!-- compare: " in text


def test_the_figures_are_there() -> None:
    named = re.findall(r"\]\(images/([^)]+)\)", results.PAGE.read_text(encoding="utf-8"))
    assert named
    for name in named:
        assert (results.FIGURES / name).is_file()


def test_the_benchmark_is_whole(runs: list[Run]) -> None:
    """Every method that a protocol takes, three seeds each, with the model that ships."""
    assert all(run.finished for run in runs)
    assert {run.section.weights for run in runs} == {load_backbone("embedded", device="cpu").weight_hash}
    grids = {
        ("unified", "base-to-new"): 2,
        ("unified", "few-shot"): 3,
        ("unified", "cross-dataset"): 1,
        ("unified", "domain-generalization"): 1,
        ("paper", "base-to-new"): 2,
        ("paper", "few-shot"): 3,
    }
    counts = Counter(
        (run.section.recipe, run.record.config.protocol, run.method) for run in runs if "[" not in run.method
    )
    learning = {recipe.partition("/")[0] for recipe in list_recipes()} - {UNIFIED}
    wanted = {
        (recipe, protocol, method): 3 * places
        for (recipe, protocol), places in grids.items()
        for method in (learning - BOUND if protocol in ("base-to-new", "cross-dataset") else learning)
    }
    assert counts == wanted
    variants = Counter(run.method for run in runs if "[" in run.method)
    assert {method.partition("[")[0] for method in variants} == {"dapt", "mudpt", "e2mim"}
    assert set(variants.values()) == {6}, "two datasets, three seeds"


def test_finished_grids_are_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RECORDS", tmp_path / "kept")
    write_run(tmp_path / "grids" / "unified" / "one", test=10)
    write_run(tmp_path / "grids" / "unified" / "two", seed=2, status="interrupted", test=10)
    (tmp_path / "grids" / "unified" / "one" / "prompts.safetensors").write_bytes(b"")
    assert results.take_in(tmp_path / "grids") == 1
    kept = [path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert sorted(map(str, kept)) == ["unified/one/predictions.parquet", "unified/one/run.json"]


def test_wall_time_leaves_out_pauses_and_counts_runs_side_by_side_once(tmp_path: Path) -> None:
    times = [("01:00:00", "02:00:00"), ("01:30:00", "02:30:00"), ("01:45:00", "02:00:00"), ("05:00:00", "05:30:00")]
    for seed, (started, ended) in enumerate(times, start=1):
        record = write_run(tmp_path / str(seed), seed=seed, test=10)
        day = "2026-01-02T{}+00:00"
        record.model_copy(update={"started": day.format(started), "ended": day.format(ended)}).write(
            tmp_path / str(seed)
        )
    runs, _ = find_runs([tmp_path])
    assert "which took 2.0 hours of wall time" in results.page("<!-- cost -->\n", runs)
