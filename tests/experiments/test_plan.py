"""Plans of grids: cells, folders, and errors that are raised before any work starts."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.conftest import FAST
from tests.helpers.reporters import Written
from vlprompt.data import loading
from vlprompt.errors import VLPromptError
from vlprompt.experiments.plan import _file_name


def test_cells_have_readable_folders_in_seed_order(make: Any, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("protocol", "method"), [("few-shot", "zero-shot"), ("base-to-new", "kgcoop")])
def test_class_names_of_every_dataset_are_checked_up_front(
    protocol: str, method: str, make: Any, pictures: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    last = sorted(path.name for path in other.iterdir() if path.is_dir())[-1]
    (other / last).rename(other / f"zz{'1' * 90}")  # every digit is a token
    with pytest.raises(VLPromptError, match=r"zz1.* tokens"):
        make([method], protocol, datasets=[str(pictures), str(other)])


def test_occupied_cells_are_refused_up_front(make: Any, weights: Path) -> None:
    make(["zero-shot"]).run(Written())
    with pytest.raises(
        VLPromptError, match=r"seed-1 and 1 more hold runs with other settings, .* another folder as `out`"
    ):
        make(["coop", "zero-shot"], recipe="unified")
    with pytest.raises(VLPromptError, match="other settings, images or weights"):
        make(["zero-shot"], settings={**FAST, "data.split_seed": 2})
    assert len(make(["zero-shot"], settings={**FAST, "runtime.eval_batch_size": 7}).finished) == 2


def test_class_bound_methods_are_reported_together(make: Any, tmp_path: Path) -> None:
    methods = ["coop", "coop[class_specific=true]", "linear-probe"]
    with pytest.raises(
        VLPromptError, match=r"`methods` coop\[class_specific=true\], linear-probe cannot name new classes"
    ):
        make(methods, "base-to-new")
    assert not (tmp_path / "grid").exists()
    assert len(make(methods).cells) == 6


def test_each_dataset_is_tested_on_the_others_unless_targets_are_named(make: Any, three: list[str]) -> None:
    one, two, other = three
    across = make(["zero-shot"], "cross-dataset", datasets=[one, two], seeds=[1])
    assert [cell.config.data.targets for cell in across.cells] == [(two,), (one,)]
    named = make(["zero-shot"], "cross-dataset", datasets=[one, two], seeds=[1], targets=[two, other])
    assert [cell.config.data.targets for cell in named.cells] == [(two, other), (other,)]
    assert set(named.pools) == set(three)
    for targets in (None, [one]):
        with pytest.raises(
            VLPromptError, match="needs datasets to test on besides 'pictures0'; pass them as `targets`"
        ):
            make(["zero-shot"], "cross-dataset", datasets=[one], targets=targets)


def test_a_group_is_its_datasets(make: Any, three: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "GROUPS", {"pets": tuple(three)})
    planned = make(["zero-shot"], datasets=["pets", three[0]], seeds=[1])
    assert [cell.config.data.source for cell in planned.cells] == three
    across = make(["zero-shot"], "cross-dataset", datasets=["pets"], seeds=[1])
    assert [cell.config.data.targets for cell in across.cells] == [
        tuple(name for name in three if name != source) for source in three
    ]
    named = make(["zero-shot"], "cross-dataset", datasets=three[:1], seeds=[1], targets=["pets"])
    assert named.cells[0].config.data.targets == tuple(three[1:])


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (["cooop"], {}, "unknown method 'cooop'; did you mean 'coop'?"),
        (["coop[n_ctxx=4]"], {}, "method 'coop' has no option 'n_ctxx'"),
        (["coop[n_ctx]"], {}, r"`methods` must be NAME or NAME\[KEY=VALUE,KEY=VALUE\], got 'coop\[n_ctx\]'"),
        (["coop]"], {}, r"`methods` must be NAME or NAME\[KEY=VALUE,KEY=VALUE\], got 'coop\]'"),
        (["maple[depth=9]"], {}, "depth must be at most 2"),
        (["coop", "coop[n_ctx=16]"], {}, "the grid contains pictures0, coop, 1 shot, seed 1 twice"),
        (["coop"], {"recipe": "dapt/few-shot"}, "`recipe` dapt/few-shot is for `method` dapt, got coop"),
        (["promptsrc[gpa_epochs=7]"], {}, "gpa_epochs must equal optim.epochs=[0-9]+, got 7"),
        (["coop"], {"shots": []}, "must not be empty"),
        (["coop"], {"seeds": [-1]}, "seed must be at least 0, got -1"),
        (["coop"], {"settings": {"optim.epoch": 1}}, "unknown setting optim.epoch; did you mean 'optim.epochs'"),
        (["coop"], {"datasets": ["no-such"]}, "no-such is neither an existing folder"),
    ],
)
def test_plan_grid_errors(methods: list[str], changes: dict[str, Any], message: str, make: Any, tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=message):
        make(methods, **changes)
    assert not (tmp_path / "grid").exists()


def test_file_names_of_unsafe_labels_are_unique() -> None:
    one, other = (_file_name(f"zero-shot[template={text}]") for text in ("a/b", "a:b"))
    assert one != other
    assert one.startswith("zero-shot,template=a_b-")
    assert _file_name("dapt[beta_text=0,n_text=4]") == "dapt,beta_text=0,n_text=4"
