"""Grids on tiny data: what is planned, skipped, gone on with, refused, and reported."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.impatient import Impatient
from vlprompt.errors import VLPromptError
from vlprompt.experiments import grid as module
from vlprompt.experiments.grid import Grid, about, numbers, plan, split_list
from vlprompt.methods.base import list_methods
from vlprompt.results.collect import find_runs
from vlprompt.results.tables import make_tables
from vlprompt.runs.record import read_record
from vlprompt.utils.progress import Reporter

FAST = ["optim.epochs=2", "optim.batch_size=4", "data.views=1"]


@pytest.fixture
def make(weights: Path, pictures: Path, tmp_path: Path) -> Any:
    def planned(methods: list[str], protocol: str = "few-shot", **changes: Any) -> Grid:
        values: dict[str, Any] = {"shots": [1], "seeds": [1, 2], "out": tmp_path / "grid", "settings": FAST, **changes}
        values.setdefault("flags", {"backbone.source": str(weights)})
        return plan(protocol, methods, values.pop("datasets", [str(pictures)]), **values)

    return planned


class Written(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(line)


def test_cells_have_readable_folders_and_go_seed_by_seed(make: Any, tmp_path: Path) -> None:
    planned = make(["coop", "coop[n_ctx=4,ctx_init=null]", "zero-shot[template=a/the {}.]"], shots=[1, 2])
    folders = [cell.folder.relative_to(tmp_path / "grid").as_posix() for cell in planned.cells]
    assert len(folders) == len(set(folders)) == 3 * 2 * 2
    assert folders[:2] == ["few-shot/pictures0/coop/shots-1/seed-1", "few-shot/pictures0/coop,n_ctx=4/shots-1/seed-1"]
    assert folders[2].startswith("few-shot/pictures0/zero-shot,template=a_")
    assert not set(" []{}") & set("".join(folders))
    assert [cell.config.seed for cell in planned.cells] == [1] * 6 + [2] * 6
    assert planned.cells[1].config.method.options["n_ctx"] == 4
    assert planned.cells[4].label == "pictures0, coop[n_ctx=4], 2 shots, seed 1"
    assert planned.cells[3].work == 2 * 4 * 2
    assert planned.summary() == "12 cells: 0 finished, 12 to run"


def test_finished_cells_are_skipped_and_times_are_learned_from(make: Any) -> None:
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
    rates = [sum(second.records[cell.folder].timings.values()) / cell.work for cell in first.cells]
    work = second.cells[0].work
    expected = work * (rates[0] + rates[1] + 2 * (rates[0] + rates[1]) / 2)  # KgCoOp is taken for an average one
    assert second.seconds_left() == pytest.approx(expected)
    second.rehearse(Written())
    pace = second.paces["kgcoop"]
    assert list(second.paces) == ["kgcoop"]
    assert 0 < pace.train < rates[1]
    kgcoop = work * pace.train + pace.names + second.cells[0].tested * pace.test
    assert second.seconds_left() == pytest.approx(work * (rates[0] + rates[1]) + 2 * kgcoop)
    assert second.run(Written()) == {}
    assert len(second.finished) == 6
    assert second.seconds_left() == 0
    assert all((folder / "run.json").read_bytes() == content for folder, content in before.items())


def test_an_interrupted_grid_goes_on_to_the_same_bytes(make: Any, tmp_path: Path) -> None:
    last = tmp_path / "cut/few-shot/pictures0/coop/shots-1/seed-2"

    whole = make(["zero-shot", "coop"], out=tmp_path / "whole")
    whole.run(Written())
    cut = make(["zero-shot", "coop"], out=tmp_path / "cut")
    assert cut.seconds_left() is None
    with pytest.raises(KeyboardInterrupt):
        cut.run(Impatient(after=2, when=lambda: (last / "split.jsonl").exists()))

    again = make(["zero-shot", "coop"], out=tmp_path / "cut")
    assert [again.state(cell) for cell in again.cells] == ["finished", "finished", "finished", "interrupted"]
    assert again.summary().startswith("4 cells: 3 finished, 1 to go on with, 0 to run; ")
    reporter = Written()
    assert again.run(reporter) == {}
    assert len(reporter.lines) == 1
    for one, other in zip(whole.cells, again.cells, strict=True):
        assert read_record(one.folder).metrics == read_record(other.folder).metrics
        assert (one.folder / "prompts.safetensors").read_bytes() == (other.folder / "prompts.safetensors").read_bytes()


def test_a_table_of_a_stopped_grid_says_what_it_lacks(make: Any, tmp_path: Path) -> None:
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

    again = make(["coop"], seeds=[2], settings=["optim.epochs=1", *FAST[1:]])
    assert again.state(again.cells[0]) == "to run"  # a plan binds nobody
    assert again.run(Written()) == {}


def test_classes_with_fewer_images_than_shots_are_told_of(make: Any) -> None:
    assert make(["coop", "zero-shot"]).short() == []
    (line,) = make(["coop", "zero-shot"], shots=[1, 64]).short()
    assert re.fullmatch(r"pictures0: 4 classes have fewer training images than 64 shots, '.*' has \d; all .*", line)


@pytest.mark.parametrize("method", list_methods())
def test_every_method_can_be_measured_on_a_batch(method: str, make: Any, tmp_path: Path) -> None:
    grid = make([method], seeds=[1])
    grid.rehearse(Written())
    pace = grid.paces[method]
    assert pace.names > 0
    assert (pace.train > 0) == (method not in ("zero-shot", "linear-probe", "tip-adapter"))
    assert "about" in grid.summary() or "less than a minute" in grid.summary()
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(("protocol", "method"), [("few-shot", "zero-shot"), ("base-to-new", "kgcoop")])
def test_class_names_of_every_dataset_are_read_before_work(
    protocol: str, method: str, make: Any, pictures: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    last = sorted(path.name for path in other.iterdir() if path.is_dir())[-1]
    (other / last).rename(other / f"zz{'1' * 90}")  # every figure is a token
    with pytest.raises(VLPromptError, match=r"zz1.* tokens"):
        make([method], protocol, datasets=[str(pictures), str(other)])


def test_cells_of_other_settings_are_refused_before_work(make: Any, weights: Path) -> None:
    make(["zero-shot"]).run(Written())
    with pytest.raises(VLPromptError, match=r"seed-1 and 1 more hold runs with other settings, .* another --out"):
        make(["coop", "zero-shot"], recipe="unified")
    with pytest.raises(VLPromptError, match="other settings, images or weights"):
        make(["zero-shot"], settings=[*FAST, "data.split_seed=2"])
    flags = {"backbone.source": str(weights), "runtime.eval_batch_size": 7}
    assert len(make(["zero-shot"], flags=flags).finished) == 2


def test_other_pictures_under_the_same_names_are_another_run(make: Any, pictures: Path, tmp_path: Path) -> None:
    """Two styles of the same things often lie in files of the same names."""
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


def test_methods_bound_to_classes_are_refused_together(make: Any, tmp_path: Path) -> None:
    methods = ["coop", "coop[class_specific=true]", "linear-probe"]
    with pytest.raises(VLPromptError, match=r"--methods coop\[class_specific=true\], linear-probe: .* new classes"):
        make(methods, "base-to-new")
    assert not (tmp_path / "grid").exists()
    assert len(make(methods).cells) == 6


def test_a_cell_that_fails_leaves_the_others_alone(make: Any) -> None:
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


def test_a_line_says_the_accuracy_of_every_test(make: Any) -> None:
    reporter = Written()
    planned = make(["zero-shot"], "base-to-new", seeds=[1])
    planned.run(reporter)
    metrics = planned.records[planned.cells[0].folder].metrics
    tests = ", ".join(f"{name} {metrics[name]['accuracy']:.1f}%" for name in ("base", "new", "open-base", "open-new"))
    assert f": {tests} in " in reporter.lines[0]


@pytest.fixture
def three(pictures: Path, tmp_path: Path) -> list[str]:
    """Three datasets of the same four classes."""
    for name in ("copy", "again"):
        shutil.copytree(pictures, tmp_path / name)
    return [str(pictures), str(tmp_path / "copy"), str(tmp_path / "again")]


def test_each_dataset_is_tested_on_the_others_unless_targets_are_named(make: Any, three: list[str]) -> None:
    one, two, other = three
    across = make(["zero-shot"], "cross-dataset", datasets=[one, two], seeds=[1])
    assert [cell.config.data.targets for cell in across.cells] == [(two,), (one,)]
    named = make(["zero-shot"], "cross-dataset", datasets=[one, two], seeds=[1], targets=[two, other])
    assert [cell.config.data.targets for cell in named.cells] == [(two, other), (other,)]
    assert set(named.pools) == set(three)
    for targets in (None, [one]):
        with pytest.raises(VLPromptError, match="tests other datasets than 'pictures0'; name them with --targets A,B"):
            make(["zero-shot"], "cross-dataset", datasets=[one], targets=targets)


def test_what_was_learned_under_another_protocol_is_not_learned_again(
    make: Any, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["zero-shot", "kgcoop"]
    first = make(methods)
    assert first.run(Written()) == {}
    assert {cell.prompts_from for cell in first.cells} == {None}

    again = make(methods, "domain-generalization", targets=three[1:])
    donors = [cell.folder if cell.method == "kgcoop" else None for cell in first.cells]
    assert [cell.prompts_from for cell in again.cells] == donors
    assert again.summary().startswith("4 cells: 0 finished, 4 to run, 2 of them with prompts that another run learned")
    again.cells = [cell for cell in again.cells if cell.prompts_from]
    monkeypatch.setattr("vlprompt.experiments.run.train", None)
    assert again.run(Written()) == {}
    assert [again.records[cell.folder].prompts_from for cell in again.cells] == [
        f"../../../../../few-shot/pictures0/kgcoop/shots-1/seed-{seed}" for seed in (1, 2)
    ]


def test_a_cell_that_need_not_learn_is_taken_to_last_as_long_as_its_tests(make: Any) -> None:
    grid = make(["coop"], seeds=[1])
    grid.run(Written())
    (done,) = grid.cells
    timings = grid.records[done.folder].timings
    ahead = replace(done, folder=done.folder / "other", work=2 * done.work)
    learning = sum(timings.values()) - timings["test"]
    assert grid.seconds_left([ahead]) == pytest.approx(timings["test"] + 2 * learning)
    assert grid.seconds_left([replace(ahead, prompts_from=done.folder)]) == pytest.approx(timings["test"])


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (["cooop"], {}, "unknown method 'cooop'; did you mean 'coop'?"),
        (["coop[n_ctxx=4]"], {}, "method 'coop' has no option 'n_ctxx'"),
        (["coop[n_ctx]"], {}, r"--methods coop\[n_ctx\]: write options as NAME\[KEY=VALUE,KEY=VALUE\]"),
        (["coop]"], {}, r"--methods coop\]: write NAME or NAME\[KEY=VALUE"),
        (["maple[depth=9]"], {}, "depth=9: the tower has 2 layers"),
        (["coop", "coop[n_ctx=16]"], {}, "the grid has pictures0, coop, 1 shot, seed 1 twice"),
        (["coop"], {"recipe": "dapt/few-shot"}, "--recipe dapt/few-shot is for method dapt, not for coop"),
        (["promptsrc[gpa_epochs=7]"], {}, "method.gpa_epochs=7 and optim.epochs=[0-9]+ differ"),
        (["coop"], {"shots": []}, "give each at least one"),
        (["coop"], {"seeds": [-1]}, "seed=-1: Input should be greater than or equal to 0"),
        (["coop"], {"settings": ["optim.epoch=1"]}, "there is no option 'optim.epoch'"),
        (["coop"], {"datasets": ["no-such"]}, "no-such is neither a folder or file here nor a dataset"),
    ],
)
def test_mistakes_are_found_before_work(
    methods: list[str], changes: dict[str, Any], message: str, make: Any, tmp_path: Path
) -> None:
    with pytest.raises(VLPromptError, match=message):
        make(methods, **changes)
    assert not (tmp_path / "grid").exists()


def test_lists() -> None:
    assert split_list("a, b[c=1,d=[2,3]],e") == ["a", "b[c=1,d=[2,3]]", "e"]
    assert split_list('a[b="c, ]",d=1],e') == ['a[b="c, ]",d=1]', "e"]
    assert numbers("--shots", "1,4, 16") == [1, 4, 16]
    with pytest.raises(VLPromptError, match="a bracket or quote is not closed"):
        split_list("a,b[c=1")
    with pytest.raises(VLPromptError, match="--seeds 1,x: write whole numbers"):
        numbers("--seeds", "1,x")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "unknown time"), (20, "less than a minute"), (600, "about 10 min"), (7800, "about 2 h 10 min")],
)
def test_times_are_said_as_people_say_them(seconds: float | None, words: str) -> None:
    assert about(seconds) == words


def test_a_label_that_no_file_can_have_is_told_apart() -> None:
    one, other = (module._file_name(f"zero-shot[template={text}]") for text in ("a/b", "a:b"))
    assert one != other
    assert one.startswith("zero-shot,template=a_b-")
    assert module._file_name("dapt[beta_text=0,n_text=4]") == "dapt,beta_text=0,n_text=4"
