import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.loading import DATASETS, list_datasets, load_dataset
from vlprompt.errors import VLPromptError


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = Dataset("toy", Path(), ("a_b", "c"), (Item("0.png", 0),), (), (Item("1.png", 1),))
    monkeypatch.setitem(DATASETS._entries, "toy", lambda root: dataset)
    return dataset


def test_names() -> None:
    assert {"fontawesome", "openmoji", "openmoji-line"} <= set(list_datasets())


def test_load_by_name_folder_and_table(registered: Dataset, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_dataset("toy") is registered
    assert load_dataset("toy", name_map={"a_b": "first", "c": "second"}).class_names == ("first", "second")
    assert load_dataset(str(tree)).class_names == load_dataset(tree).class_names == ("ant", "oak", "sea lion")
    (tree / "a.csv").write_text("path,label\nant/0.png,x\nant/1.png,y\n")
    assert load_dataset(tree / "a.csv").class_names == ("x", "y")
    (tree / "b.csv").mkdir()
    with pytest.raises(VLPromptError, match="no class folders"):
        load_dataset(tree / "b.csv")
    (tree / "b.csv").rmdir()
    tree.rename(tree.parent / "toy")
    monkeypatch.chdir(tree.parent)
    assert load_dataset("toy") is registered
    assert load_dataset("./toy", split_seed=2).name == "toy"


def test_root_is_passed_to_registered_datasets(monkeypatch: pytest.MonkeyPatch, registered: Dataset) -> None:
    asked: list[Path | None] = []

    def load(root: Path | None) -> Dataset:
        asked.append(root)
        return registered

    monkeypatch.setitem(DATASETS._entries, "toy", load)
    monkeypatch.setenv("HOME", "somewhere")
    for root in (None, "data", Path("~/data")):
        load_dataset("toy", root=root)
    assert asked == [None, Path("data"), Path("somewhere/data")]


def test_load_split_file(tree: Path) -> None:
    rows = [{"path": f"{name}/{n}.png", "class_name": name} for name in ("ant", "oak") for n in range(4)]
    (tree.parent / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert load_dataset(tree.parent / "mine.jsonl", root=tree).class_names == ("ant", "oak")


def test_unknown_source(tree: Path) -> None:
    with pytest.raises(
        VLPromptError,
        match=r"`data` nowhere is neither an existing folder or file nor a named dataset; datasets: .*openmoji",
    ):
        load_dataset("nowhere")
    with pytest.raises(VLPromptError, match="nor a named dataset; did you mean 'oxford-pets'"):
        load_dataset("OxfordPets")
    with pytest.raises(VLPromptError, match=r"must be a folder, or a \.csv, \.tsv, \.parquet, \.jsonl or \.json file"):
        load_dataset(tree / "ant/0.png")


def test_datasets_do_not_import_torch() -> None:
    """Records and protocols read datasets, and importing torch takes seconds."""
    code = "import sys, vlprompt.data.catalog, vlprompt.data.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("source", ["openmoji", "hf:./land", "table.csv", "split.jsonl"])
def test_exclude_is_for_folders(source: str) -> None:
    with pytest.raises(VLPromptError, match=r"`exclude` applies only to folders, got `data` .*; leave it out"):
        load_dataset(source, exclude=["*.png"])


def test_excluded_images_are_not_in_the_dataset(tree: Path) -> None:
    dataset = load_dataset(tree, exclude=["oak", "1.png"])
    assert dataset.class_names == ("ant", "sea lion")
    paths = {item.path for items in dataset.splits().values() for item in items}
    assert len(paths) == 18 and "ant/1.png" not in paths
