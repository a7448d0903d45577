"""Hugging Face datasets, from generated folders."""

import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlprompt.data.images import read_image
from vlprompt.data.loading import load_dataset
from vlprompt.data.readers import hub
from vlprompt.errors import VLPromptError

hf = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'vlprompt[datasets]'")

CLASSES = ["forest", "sea_lake", "river"]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    hf.disable_progress_bars()


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (shade, 255 - shade, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def table(labels: list[int | None], names: list[str] = CLASSES, shift: int = 0, column: str = "label") -> Any:
    """A table as on the hub: image bytes and class indices."""
    features = hf.Features({"img": hf.Image(), column: hf.ClassLabel(names=names), "id": hf.Value("int64")})
    rows = {
        "img": [{"bytes": png(number + shift), "path": None} for number in range(len(labels))],
        column: labels,
        "id": list(range(len(labels))),
    }
    return hf.Dataset.from_dict(rows, features=features)


def test_parquet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "land" / "data"
    folder.mkdir(parents=True)
    parts = {"train": [0, 1, 2, 2, 1, 0], "validation": [2, 1, 0], "test": [1, 0, 2]}
    for shift, (split, labels) in enumerate(parts.items()):
        table(labels, shift=20 * shift).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset("hf:./land")
    assert (dataset.name, dataset.source) == ("land", "hf:./land")
    assert dataset.class_names == ("forest", "sea lake", "river"), "in the order of their labels"
    for items, labels in zip((dataset.train, dataset.val, dataset.test), parts.values(), strict=True):
        assert [item.label for item in items] == labels
    assert (dataset.root / dataset.test[1].path).read_bytes() == png(41), "bytes as they are"
    assert read_image(dataset.root / dataset.train[0].path).size == (6, 5)

    def fail(*args: object) -> bytes:
        raise AssertionError("written again")

    monkeypatch.setattr(hub, "_content", fail)
    assert load_dataset("hf:./land") == dataset
    names = {"forest": "a", "sea_lake": "b", "river": "c"}
    assert load_dataset("hf:./land", name_map=names).class_names == ("a", "b", "c")


def test_class_folders_are_split_by_seed(tree: Path) -> None:
    dataset = load_dataset(f"hf:{tree}")
    assert dataset.class_names == ("ant", "oak", "sea lion")
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [15, 6, 9]
    other = load_dataset(f"hf:{tree}", split_seed=2)
    assert other.split_hash() != dataset.split_hash()
    original = {path.read_bytes() for path in tree.rglob("*.png")}
    assert {path.read_bytes() for path in dataset.root.rglob("*") if path.is_file()} == original


@pytest.mark.parametrize(("train", "test"), [("Training", "Test"), ("Training", "test"), ("train", "TEST_SET")])
def test_split_folders_that_the_library_does_not_know(train: str, test: str, tmp_path: Path) -> None:
    for number, folder in enumerate((f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")):
        (tmp_path / folder).mkdir(parents=True)
        for image in range(3):
            Image.new("RGB", (12, 10), (number, image, 0)).save(tmp_path / folder / f"{image}.png")
    with pytest.raises(VLPromptError, match=f"give `data` as {tmp_path}, without hf:"):
        load_dataset(f"hf:{tmp_path}")
    assert len(load_dataset(tmp_path).test) == 6


def test_saved_dataset_without_test_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = {"train": table([0, 1, 0, None]), "validation": table([1, 0], shift=9), "test": table([-1, -1], shift=20)}
    hf.DatasetDict(tables).save_to_disk(tmp_path / "saved")
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset(f"hf:{tmp_path / 'saved'}")
    assert dataset.class_names == ("forest", "sea lake"), "classes that there are images of"
    assert Counter(item.label for item in dataset.train) == {0: 2, 1: 1}
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [3, 0, 2]
    assert caplog.messages == [f"hf:{tmp_path / 'saved'} has no labeled test images; testing on its validation images"]


def test_changed_content_is_written_again(tmp_path: Path) -> None:
    source = f"hf:{tmp_path / 'saved'}"
    hf.DatasetDict({"train": table([0, 1]), "test": table([1, 0], shift=9)}).save_to_disk(tmp_path / "saved")
    first = load_dataset(source)
    hf.DatasetDict({"train": table([0, 1], shift=50), "test": table([1, 0], shift=9)}).save_to_disk(tmp_path / "other")
    (tmp_path / "saved").rename(tmp_path / "old")
    (tmp_path / "other").rename(tmp_path / "saved")
    second = load_dataset(source)
    assert (second.root / second.train[0].path).read_bytes() == png(50)
    assert (first.root / first.train[0].path).read_bytes() == png(0)


def test_numbers_as_class_names_are_in_their_order(tmp_path: Path) -> None:
    names = sorted(map(str, range(1, 12)))
    table([*range(11)] * 4, names=names).save_to_disk(tmp_path / "saved")
    assert load_dataset(f"hf:{tmp_path / 'saved'}").class_names == tuple(map(str, range(1, 12)))


def test_loaded_datasets(tmp_path: Path) -> None:
    parts = {"train": table([0, 1, 2]), "test": table([1, 0, 2], shift=20)}
    for loaded, sizes in ((hf.DatasetDict(parts), [3, 0, 3]), (table([0, 1, 2] * 5), [6, 3, 6])):
        dataset = load_dataset(loaded)
        assert (dataset.name, dataset.source, dataset.class_names) == ("dataset", "", ("forest", "sea lake", "river"))
        assert [len(items) for items in dataset.splits().values()] == sizes
    with pytest.raises(VLPromptError, match="`data` must not be a streamed dataset; load it without `streaming=True`"):
        load_dataset(parts["train"].to_iterable_dataset())


def test_unnamed_labels_and_several_label_columns(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": png(n), "path": None} for n in range(8)], "label": ["moor", "heath"] * 4}
    features = hf.Features({"image": hf.Image(), "label": hf.Value("string")})
    hf.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "strings")
    assert load_dataset(f"hf:{tmp_path / 'strings'}").class_names == ("heath", "moor")
    numbers = hf.Dataset.from_dict({**rows, "label": [10, 2] * 4}).cast_column("image", hf.Image())
    numbers.save_to_disk(tmp_path / "numbers")
    assert load_dataset(f"hf:{tmp_path / 'numbers'}").class_names == ("2", "10"), "as numbers, not as text"
    coarse = table([0, 1, 2, 0, 1, 2], column="fine_label").add_column(
        "coarse_label", [0, 1, 0, 1, 0, 1], feature=hf.ClassLabel(names=["dry", "wet"])
    )
    coarse.save_to_disk(tmp_path / "both")
    assert load_dataset(f"hf:{tmp_path / 'both'}").class_names == ("forest", "sea lake", "river")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.remove_columns("label"), r"must have one column of labels, got none among img, id"),
        (lambda found: found.remove_columns("img"), r"must have one column of images, got none among label, id"),
        (
            lambda found: found.rename_column("label", "a").add_column(
                "b", [0, 1], feature=hf.ClassLabel(names=["x", "y"])
            ),
            "must have one column of labels, got a, b; keep one, call it 'label'",
        ),
    ],
)
def test_ambiguous_columns_are_rejected(change: Any, message: str, tmp_path: Path) -> None:
    change(table([0, 1])).save_to_disk(tmp_path / "saved")
    with pytest.raises(VLPromptError, match=message):
        load_dataset(f"hf:{tmp_path / 'saved'}")


def test_splits_of_another_kind_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = {"train": table([0, 1]), "test": table([1, 0], shift=9), "unsupervised": table([1, 1, 0], shift=20)}
    hf.DatasetDict(tables).save_to_disk(tmp_path / "saved")
    dataset = load_dataset(f"hf:{tmp_path / 'saved'}")
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [2, 0, 2]
    assert caplog.messages == [f"hf:{tmp_path / 'saved'}: splits that are left out: unsupervised (3)"]


def test_missing_splits_and_sources(tmp_path: Path) -> None:
    hf.DatasetDict({"large": table([0, 1]), "small": table([1, 0])}).save_to_disk(tmp_path / "saved")
    with pytest.raises(VLPromptError, match="must have a split called train, got large, small"):
        load_dataset(f"hf:{tmp_path / 'saved'}")
    hf.DatasetDict({"train": table([-1, None])}).save_to_disk(tmp_path / "hidden")
    with pytest.raises(VLPromptError, match="has no labeled images"):
        load_dataset(f"hf:{tmp_path / 'hidden'}")
    with pytest.raises(VLPromptError, match=r"^hf:\./nowhere cannot be loaded: .+"):
        load_dataset("hf:./nowhere")


def test_missing_extra_shows_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(VLPromptError, match=r'hf:x requires the datasets package: pip install "vlprompt\[datasets\]"'):
        load_dataset("hf:x")


def test_name_and_configuration_are_passed_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(name: str, config: str | None) -> Any:
        asked.append((name, config))
        return hf.DatasetDict({"train": table([0, 1]), "test": table([1, 0], shift=9)})

    monkeypatch.setattr(hf, "load_dataset", load)
    assert load_dataset("hf:someone/land:rgb").name == "someone-land-rgb"
    assert load_dataset("hf:land").name == "land"
    assert asked == [("someone/land", "rgb"), ("land", None)]
