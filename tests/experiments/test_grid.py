"""Grids on tiny data: skipped and continued cells, estimates, failures and reports."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.conftest import FAST
from tests.helpers.impatient import Impatient
from tests.helpers.reporters import Written
from vlprompt.experiments.grid import duration
from vlprompt.methods.create import list_methods
from vlprompt.results.collect import find_runs
from vlprompt.results.tables import make_tables
from vlprompt.runs.record import read_record


def test_finished_cells_are_skipped_and_improve_estimates(make: Any) -> None:
    first = make(["zero-shot", "coop"], seeds=[1])
    assert first.seconds_left() is None
    reporter = Written()
    assert first.run(reporter) == {}
    assert [line.split("  ")[0] for line in reporter.lines] == ["1/2", "2/2"]
    assert "coop, 1 shot, seed 1: test " in reporter.lines[1]
    assert "less than a minute left" in reporter.lines[1]
    before = {cell.folder: (cell.folder / "run.json").read_bytes() for cell in first.cells}

    second = make(["zero-shot", "coop", "kgcoop"])
    assert second.summary().startswith("6 cells: 2 finished, 4 to run; ")
    # Without encoding: the second seed's features are counted apart.
    seconds = [
        sum(value for part, value in second.records[cell.folder].timings.items() if part != "encode")
        for cell in first.cells
    ]
    # KgCoOp is assumed to be as fast as the average.
    assert second.seconds_left() == pytest.approx(sum(seconds) + 2 * sum(seconds) / 2)
    second.rehearse(Written())
    pace = second.paces["kgcoop"]
    assert list(second.paces) == ["kgcoop"]
    work, tested = second.cells[0].work, second.cells[0].tested
    assert 0 < pace.train < seconds[1] / work
    kgcoop = work * pace.train + pace.names + tested * pace.test
    missing = {name for cell in second.unfinished for name in cell.features}
    missing -= {name for cell in second.finished for name in cell.features}
    encoding = second.encoding.get(("pictures0", None), 0.0) * sum(second.features.missing[name] for name in missing)
    assert second.seconds_left() == pytest.approx(sum(seconds) + 2 * kgcoop + encoding)
    assert second.run(Written()) == {}
    assert len(second.finished) == 6
    assert second.seconds_left() == 0
    assert all((folder / "run.json").read_bytes() == content for folder, content in before.items())


def test_resumed_grid_is_bitwise_identical(make: Any, tmp_path: Path) -> None:
    last = tmp_path / "cut/few-shot/pictures0/coop/shots-1/seed-2"

    whole = make(["zero-shot", "coop"], out=tmp_path / "whole")
    whole.run(Written())
    cut = make(["zero-shot", "coop"], out=tmp_path / "cut")
    assert cut.seconds_left() is None
    with pytest.raises(KeyboardInterrupt):
        cut.run(Impatient(after=2, when=lambda: (last / "split.jsonl").exists()))

    again = make(["zero-shot", "coop"], out=tmp_path / "cut")
    assert [again.state(cell) for cell in again.cells] == ["finished", "finished", "finished", "interrupted"]
    assert again.summary().startswith("4 cells: 3 finished, 1 to continue, 0 to run; ")
    reporter = Written()
    assert again.run(reporter) == {}
    assert len(reporter.lines) == 1
    for one, other in zip(whole.cells, again.cells, strict=True):
        assert read_record(one.folder).metrics == read_record(other.folder).metrics
        assert (one.folder / "prompts.safetensors").read_bytes() == (other.folder / "prompts.safetensors").read_bytes()


def test_table_of_partial_grid_shows_missing_cells(make: Any, tmp_path: Path) -> None:
    grid = make(["zero-shot", "coop"], seeds=[1, 2, 3])
    first = grid.cells[0].folder
    with pytest.raises(KeyboardInterrupt):
        grid.run(Impatient(after=2, when=lambda: read_record(first).status == "finished"))
    runs, _ = find_runs([tmp_path / "grid"])
    assert len(runs) == 6
    assert {run.record.status for run in runs} >= {"finished", "planned"}
    (table,) = make_tables(runs)
    places = [next(iter(row.values.values())) for row in table.rows]
    assert [(place.have, place.need, place.sample) for place in places] == [(1, 3, None), (0, 3, None)]

    again = make(["coop"], seeds=[2], settings={**FAST, "optim.epochs": 1})
    assert again.state(again.cells[0]) == "to run"  # planned cells count as not started
    assert again.run(Written()) == {}


def test_grid_warns_about_classes_with_few_images(make: Any) -> None:
    assert make(["coop", "zero-shot"]).short_classes() == []
    (line,) = make(["coop", "zero-shot"], shots=[1, 64]).short_classes()
    assert re.fullmatch(r"pictures0: 4 classes have fewer than 64 training images \(fewest: \d of '.*'\); all .*", line)


@pytest.mark.parametrize("method", list_methods())
def test_every_method_can_be_measured_on_a_batch(method: str, make: Any, tmp_path: Path) -> None:
    grid = make([method], seeds=[1])
    grid.rehearse(Written())
    pace = grid.paces[method]
    assert pace.names > 0
    assert (pace.train > 0) == (method not in ("zero-shot", "linear-probe", "tip-adapter"))
    assert "about" in grid.summary() or "less than a minute" in grid.summary()
    assert not (tmp_path / "grid").exists()


def test_different_images_with_same_names_are_another_run(make: Any, pictures: Path, tmp_path: Path) -> None:
    """Datasets in two styles often have the same file names."""
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    names = sorted(path.name for path in other.iterdir() if path.is_dir())
    for one, two in zip(names[::2], names[1::2], strict=True):
        (other / one).rename(other / "kept")
        (other / two).rename(other / one)
        (other / "kept").rename(other / two)
    first = make(["coop"], seeds=[1])
    assert not first.run(Written())
    second = make(["coop"], seeds=[1], datasets=[str(other)])
    assert second.cells[0].prompts_from is None
    assert not second.run(Written())
    one, two = (read_record(grid.cells[0].folder) for grid in (first, second))
    assert one.split.hash == two.split.hash
    assert one.split.content != two.split.content
    assert one.tests["test"].hash != two.tests["test"].hash
    assert one.result_hash != two.result_hash
    runs, _ = find_runs([tmp_path / "grid"])
    assert {run.dataset for run in runs} == {pictures.name, "other"}
    moved = shutil.copytree(pictures, tmp_path / "moved")
    assert make(["coop"], seeds=[1], datasets=[str(moved)]).cells[0].prompts_from == first.cells[0].folder


def test_failing_cell_does_not_stop_the_others(make: Any) -> None:
    planned = make(["zero-shot", "coop"], seeds=[1])
    broken = planned.cells[0].folder
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")
    reporter = Written()
    failed = planned.run(reporter)
    assert list(failed) == [broken]
    assert reporter.lines[0].startswith("failed: pictures0, zero-shot, 1 shot, seed 1: ")
    assert "run.json cannot be read" in reporter.lines[0]
    assert planned.finished == planned.cells[1:]


def test_progress_line_has_the_accuracy_of_every_test(make: Any) -> None:
    reporter = Written()
    planned = make(["zero-shot"], "base-to-new", seeds=[1])
    planned.run(reporter)
    metrics = planned.records[planned.cells[0].folder].metrics
    tests = ", ".join(f"{name} {metrics[name]['accuracy']:.1f}%" for name in ("base", "new", "open-base", "open-new"))
    assert f": {tests} in " in reporter.lines[0]


def test_prompts_are_shared_between_protocols(make: Any, three: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["zero-shot", "kgcoop"]
    first = make(methods)
    assert first.run(Written()) == {}
    assert {cell.prompts_from for cell in first.cells} == {None}

    again = make(methods, "domain-generalization", targets=three[1:])
    donors = [cell.folder if cell.method == "kgcoop" else None for cell in first.cells]
    assert [cell.prompts_from for cell in again.cells] == donors
    assert again.summary().startswith("4 cells: 0 finished, 4 to run, 2 of them with prompts copied from another run")
    again.cells = [cell for cell in again.cells if cell.prompts_from]
    monkeypatch.setattr("vlprompt.experiments.run.train", None)
    assert again.run(Written()) == {}
    assert [again.records[cell.folder].prompts_from for cell in again.cells] == [
        f"../../../../../few-shot/pictures0/kgcoop/shots-1/seed-{seed}" for seed in (1, 2)
    ]


def test_cell_with_copied_prompts_is_estimated_by_test_time(make: Any) -> None:
    grid = make(["coop"], seeds=[1])
    grid.run(Written())
    (done,) = grid.cells
    timings = grid.records[done.folder].timings
    ahead = replace(done, folder=done.folder / "other", work=2 * done.work)
    learning = timings["prepare"] + timings["train"]
    assert grid.seconds_left([ahead]) == pytest.approx(timings["test"] + 2 * learning)
    assert grid.seconds_left([replace(ahead, prompts_from=done.folder)]) == pytest.approx(timings["test"])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "unknown time"), (20, "less than a minute"), (600, "about 10 min"), (7800, "about 2 h 10 min")],
)
def test_duration_format(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
