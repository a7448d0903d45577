"""`vlprompt data`: output and exit codes."""

import csv
import io
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from torchvision import datasets

from tests.helpers import dataset_trees as trees
from tests.helpers.command_line import Call, caller


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call `vlprompt data`, as in `tests.helpers.command_line`."""
    return partial(caller(monkeypatch, capsys), "data")


def test_data_list(call: Call, tmp_path: Path) -> None:
    trees.dtd(tmp_path)
    code, out, _ = call("list", "--root", tmp_path, "--format", "csv")
    rows = {row["name"]: list(row.values()) for row in csv.DictReader(io.StringIO(out))}
    assert code == 0
    assert out.splitlines()[0] == "name,classes,train,val,test,license,where"
    assert rows["dtd"] == ["dtd", "47", "2820", "1128", "1692", "research use only", str(tmp_path / "dtd/dtd")]
    assert rows["imagenet"][1:5] == ["1000", "1281167", "", "50000"]
    assert rows["imagenet"][-1] == "not found"
    assert all(len(line) <= 80 for line in call("list", "--root", tmp_path)[1].splitlines())
    code, out, _ = call("list", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert found["eurosat"]["class_names"][0] == "Annual Crop Land"
    assert found["imagenet"]["shifted"][0] == "imagenet-v2"
    assert found["openmoji"]["sizes"] == {"train": 632, "val": 141, "test": 564}


def test_data_check_reports_counts_and_problems(call: Call, tmp_path: Path) -> None:
    trees.dtd(tmp_path)
    code, out, _ = call("check", "dtd", "--root", tmp_path)
    assert code == 1
    assert out.splitlines()[:3] == [
        f"dtd in {tmp_path / 'dtd/dtd'}: the first official split",
        "  train        47 images of 47 classes, 1 per class",
        "  val          47 images of 47 classes, 1 per class",
    ]
    assert "must have 1,880 images as published, got 47" in out
    code, out, _ = call("check", "dtd", "--root", tmp_path, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["counts"]["test"]["zigzagged"] == 1
    assert found["published"]["test"] == 1880


def test_data_check_of_missing_data(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("check", "oxford-pets", "--root", tmp_path)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].startswith("  problem: ")
    assert lines[1:3] == ["  to get it: by torchvision", "    vlprompt data fetch oxford-pets"]
    assert any("split_zhou_OxfordPets.json from https://drive.google.com/file/d/" in line for line in lines)
    code, _, err = call("check", "oxford-pet")
    assert (code, err) == (
        2,
        "error: DATA oxford-pet is neither an existing folder or file nor a named dataset; "
        "did you mean 'oxford-pets'?\n",
    )


def test_data_check_of_a_folder(call: Call, pictures: Path, tmp_path: Path) -> None:
    code, out, _ = call("check", pictures)
    assert code == 0
    assert out.splitlines()[0].startswith("pictures")
    assert out.splitlines()[-1] == "  no problems found"
    assert call("check", pictures, "--quiet")[:2] == (0, "")
    table = tmp_path / "table.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(pictures.rglob("*.png"))]
    table.write_text("\n".join(["path,label", *rows, f"{tmp_path / 'gone.png'},night"]))
    code, out, _ = call("check", table)
    assert code == 1
    assert f"  problem: 1 image cannot be read: {tmp_path / 'gone.png'} (no such file)" in out


def test_data_check_counts_the_files_that_are_not_read(call: Call, pictures: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pictures, tmp_path / "mine"))
    (root / "night/0.nef").write_text("raw")
    (root / "night/notes.txt").write_text("text")
    (root / "night/@eaDir").mkdir()
    shutil.copy(root / "night/00.png", root / "night/@eaDir/thumb.png")
    code, out, _ = call("check", root)
    assert code == 1
    assert "  problem: 1 file is not read: 1 .nef (raw photographs; convert them to .jpg)" in out.splitlines()
    assert "  note: 1 file is not read: 1 .txt (no images)" in out.splitlines()
    found = json.loads(call("check", root, "--json")[1])
    assert sum(counts["night"] for counts in found["counts"].values()) == 12
    assert found["left_out"][0] == {
        "suffix": ".nef",
        "count": 1,
        "reason": "raw photographs; convert them to .jpg",
        "images": True,
    }
    assert call("check", root, "--exclude", "*.nef", "--exclude", "*.txt")[0] == 0
    code, _, err = call("check", "eurosat", "--exclude", "*.nef")
    assert (code, err) == (2, "error: --exclude applies only to folders, got DATA eurosat; leave it out\n")


def test_fetch(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DTD", lambda root, download: trees.dtd(root))
    code, out, _ = call("fetch", "dtd", "--root", tmp_path)
    assert code == 0
    assert out == f"{tmp_path / 'dtd/dtd'}: the first official split   next: vlprompt data check dtd\n"
    code, _, err = call("fetch", "ucf101", "--root", tmp_path)
    assert code == 2
    assert err.startswith("error: ucf101 cannot be downloaded automatically; vlprompt data check ucf101 shows where")
