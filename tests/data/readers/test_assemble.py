"""What all readers do alike, with the same images as a folder, a table, a split file and a Hugging Face dataset."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset

Draw = Callable[[Path], Path]

# Images of each class in the folders of the splits.
TRAIN_AND_VAL = {"Training": 5, "dev": 3}
ALL_THREE = {"TRAIN": 5, "validation_set": 3, "Testing": 2}


def tree(root: Path, draw: Draw, splits: Mapping[str, int]) -> list[tuple[str, str, str]]:
    rows = []
    for split, count in splits.items():
        for label in ("cat", "dog"):
            for number in range(count):
                draw(root / split / label / f"{number}.png")
                rows.append((f"{split}/{label}/{number}.png", label, split))
    return rows


def load(kind: str, root: Path, rows: list[tuple[str, str, str]]) -> Dataset:
    table = pl.DataFrame(rows, schema=["path", "label", "split"], orient="row")
    match kind:
        case "csv":
            table.write_csv(root / "a.csv")
        case "parquet":
            table.write_parquet(root / "a.parquet")
        case "jsonl":
            (root / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table.to_dicts()))
        case "hf":
            return saved(root, rows)
        case "folder":
            return load_dataset(root)
    return load_dataset(root / f"a.{kind}")


def saved(root: Path, rows: list[tuple[str, str, str]]) -> Dataset:
    hf = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'vlprompt[datasets]'")
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["cat", "dog"])})
    tables = {}
    for split in dict.fromkeys(split for _, _, split in rows):
        found = [(path, label) for path, label, part in rows if part == split]
        columns = {
            "image": [{"bytes": (root / path).read_bytes(), "path": None} for path, _ in found],
            "label": [label for _, label in found],
        }
        tables[split] = hf.Dataset.from_dict(columns, features=features)
    hf.DatasetDict(tables).save_to_disk(root.parent / "saved")
    return load_dataset(f"hf:{root.parent / 'saved'}")


@pytest.mark.parametrize("kind", ["folder", "csv", "parquet", "jsonl", "hf"])
def test_names_of_splits(kind: str, tmp_path: Path, draw: Draw) -> None:
    dataset = load(kind, tmp_path / "d", tree(tmp_path / "d", draw, ALL_THREE))
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [10, 6, 4]
    assert (dataset.tested_on, dataset.split_seed) == ("test", None)


@pytest.mark.parametrize("kind", ["folder", "csv", "parquet", "jsonl", "hf"])
def test_validation_images_without_test_images_are_for_testing(
    kind: str, tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = load(kind, tmp_path / "d", tree(tmp_path / "d", draw, TRAIN_AND_VAL))
    assert Counter(item.label for item in dataset.train) == {0: 5, 1: 5}
    assert Counter(item.label for item in dataset.test) == {0: 3, 1: 3}
    assert dataset.val == (), "nothing is selected on the images that are tested"
    assert dataset.tested_on == "val"
    assert dataset.few_shot(2, seed=1).subset("base").tested_on == "val"
    assert [line.partition(" has ")[2] for line in caplog.messages] == [
        "no labeled test images; testing on its validation images"
    ]


@pytest.mark.parametrize("kind", ["folder", "hf"])
def test_training_images_alone_are_split_by_seed(kind: str, tmp_path: Path, draw: Draw) -> None:
    dataset = load(kind, tmp_path / "d", tree(tmp_path / "d", draw, {"train": 10}))
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [10, 4, 6]
    assert dataset.split_seed == 1


def test_all_images_for_testing(tmp_path: Path, draw: Draw) -> None:
    tree(tmp_path / "plain", draw, {"x": 5})
    dataset = load_dataset(tmp_path / "plain/x")
    tested = dataset.for_testing
    assert (tested.train, tested.val) == ((), ())
    assert [item.path for item in tested.test] == [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(5)]
    assert load_dataset(tmp_path / "plain/x", split_seed=2).for_testing.split_hash() == tested.split_hash()
    assert tested.for_testing is tested
    tree(tmp_path / "split", draw, ALL_THREE)
    given = load_dataset(tmp_path / "split")
    assert given.for_testing is given
