from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from vlprompt.data.loading import load_dataset
from vlprompt.data.readers.table import read_table
from vlprompt.errors import VLPromptError

ROWS = {
    "path": ["ant/0.png", "oak/0.png", "ant/1.png", "oak/1.png", "ant/2.png"],
    "label": ["ant", "oak_tree", "ant", "oak_tree", "ant"],
    "split": ["train", "train", "test", "test", "valid"],
}


def write(path: Path, rows: Mapping[str, object] | pl.DataFrame) -> Path:
    table = pl.DataFrame(rows)
    if path.suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "CSV"])
def test_given_splits(tree: Path, suffix: str) -> None:
    path = tree / f"birds.{suffix}"
    write(path.with_suffix(path.suffix.lower()), ROWS).rename(path)
    dataset = read_table(path)
    assert (dataset.name, dataset.root, dataset.class_names) == ("birds", tree, ("ant", "oak tree"))
    assert [(item.path, item.label) for item in dataset.train] == [("ant/0.png", 0), ("oak/0.png", 1)]
    assert [item.path for item in dataset.val] == ["ant/2.png"]
    assert [item.path for item in dataset.test] == ["ant/1.png", "oak/1.png"]


def test_table_without_split_is_split_like_a_folder(tree: Path) -> None:
    paths = [f"{name}/{number}.png" for name in ("ant", "oak") for number in range(10)]
    rows = {"path": paths, "label": [path.split("/")[0] for path in paths]}
    dataset = read_table(write(tree / "a.csv", rows))
    assert [len(items) for items in (dataset.train, dataset.val, dataset.test)] == [10, 4, 6]
    assert read_table(tree / "a.csv", split_seed=9).split_hash() != dataset.split_hash()


def test_numeric_labels_are_sorted_by_value(tree: Path) -> None:
    rows = {"path": [f"ant/{number}.png" for number in range(4)], "label": [10, 9, 10, 9]}
    dataset = read_table(write(tree / "a.csv", rows), name_map={"9": "nine", "10": "ten"})
    assert dataset.class_names == ("nine", "ten")
    assert {item.label for item in dataset.train if item.path in ("ant/1.png", "ant/3.png")} == {0}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["002", "001"], ("001", "002")),
        (["True", "False"], ("False", "True")),
        (["7"] * 150 + ["dog"], ("7", "dog")),
        (["2", "10", "-1"], ("-1", "2", "10")),
        (["10.0", "2.0"], ("2.0", "10.0")),
        (["cat ", "dog", "cat"], ("cat", "dog")),
    ],
)
def test_labels_are_read_as_text(labels: list[str], classes: tuple[str, ...], tree: Path) -> None:
    rows = {"path": [f"{n}.png" for n in range(len(labels))], "label": labels, "split": ["train"] * len(labels)}
    for path in rows["path"]:
        (tree / path).write_bytes((tree / "ant/0.png").read_bytes())
    assert read_table(write(tree / "a.csv", rows)).class_names == classes


def test_class_names_are_sorted_by_label(tree: Path) -> None:
    rows = {**ROWS, "class_name": ROWS["label"], "label": [10, 9, 10, 9, 10]}
    for name in ("a.csv", "a.parquet"):
        assert read_table(write(tree / name, rows)).class_names == ("oak tree", "ant"), "in the order of labels"
    del rows["label"]
    assert read_table(write(tree / "a.csv", rows)).class_names == ("ant", "oak tree")


def test_table_variants(tree: Path) -> None:
    write(tree / "a.csv", ROWS)
    expected = read_table(tree / "a.csv").split_hash()
    text = (tree / "a.csv").read_text()
    rows = text.splitlines()[1:]
    for content in (
        text.replace(",", ";"),
        text.replace(",", "\t"),
        text.replace("/", "\\"),
        text.replace("\n", "\n\n"),
        "\n".join(["Path, LABEL,Split", *(row.replace("train", "Train").replace("test", "TEST ") for row in rows)]),
    ):
        (tree / "a.csv").write_text(content)
        assert read_table(tree / "a.csv").split_hash() == expected, content
    (tree / "ant\\0.png").write_bytes((tree / "ant/0.png").read_bytes())
    (tree / "a.csv").write_text(text.replace("/", "\\"))
    assert read_table(tree / "a.csv").train[0].path == "ant\\0.png", "a file may be called so"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_spreadsheets(encoding: str, separator: str, tree: Path) -> None:
    write(tree / "a.csv", ROWS)
    expected = read_table(tree / "a.csv").split_hash()
    text = (tree / "a.csv").read_text().replace(",", separator).replace("\n", "\r\n")
    for name, content in {"b.csv": text, "c.tsv": text, "d.csv": f"sep={separator}\r\n{text}"}.items():
        (tree / name).write_bytes(content.encode(encoding))
        assert load_dataset(tree / name).split_hash() == expected


def test_other_encodings_are_refused_with_a_reason(tree: Path) -> None:
    (tree / "a.csv").write_bytes("path,label\nant/0.png,höhle\n".encode("latin-1"))
    assert "cannot be read: it is not UTF-8 text" in message(tree / "a.csv")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pytest.importorskip(library)
    expected = read_table(write(tree / "a.csv", ROWS))
    monkeypatch.chdir(tree)
    for rows in (ROWS, {**ROWS, "path": [str(tree / path) for path in ROWS["path"]]}):
        dataset = load_dataset(frames.DataFrame({"more": [1, 2, 3, 4, 5], **rows}))
        assert (dataset.name, dataset.source, dataset.class_names) == ("frame", "", expected.class_names)
        assert [item.label for item in dataset.train] == [item.label for item in expected.train]
        assert [(dataset.root / item.path).read_bytes() for item in dataset.test] == [
            (tree / item.path).read_bytes() for item in expected.test
        ]
    numbers = frames.DataFrame({"path": [f"ant/{n}.png" for n in range(4)], "label": [10, 9, 10, 9]})
    assert load_dataset(numbers, name_map={"9": "nine", "10": "ten"}).class_names == ("nine", "ten")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_that_lack_something(library: str, tree: Path) -> None:
    frames = pytest.importorskip(library)
    for rows, reason in (
        ({"file": ["a"], "label": ["b"]}, "the data frame must have a column 'path', got file, label"),
        ({"path": ["a", "b"], "label": ["x", None]}, "row 2 of the data frame has no label; fill in the cell"),
        ({"path": ["a", "b"], "label": [1.0, float("nan")]}, "row 2 of the data frame has no label"),
    ):
        with pytest.raises(VLPromptError, match=reason):
            load_dataset(frames.DataFrame(rows))


def test_lazy_frames(tree: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.chdir(tree)
    frame = pl.LazyFrame(ROWS)
    assert load_dataset(frame).class_names == load_dataset(frame.collect()).class_names
    assert not recwarn.list


def test_data_frame_with_a_column_twice(tree: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS)
    with pytest.raises(VLPromptError, match="the data frame has two columns 'path'; keep one"):
        load_dataset(pandas.concat([frame, frame[["path"]]], axis=1))


@pytest.mark.parametrize("source", [[("a.png", "cat")], {"a.png": "cat"}, b"a.csv", 3, None])
def test_other_objects_are_refused_in_one_short_line(source: object) -> None:
    with pytest.raises(VLPromptError, match=r"`data` must be a name, a path, .*, got") as caught:
        load_dataset(source)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_missing_and_unreadable_files_are_skipped(tree: Path) -> None:
    (tree / "ant/0.png").write_bytes(b"")
    rows = {"path": [f"{name}/{n}.png" for name in ("ant", "oak") for n in range(12)], "label": ["a"] * 12 + ["b"] * 12}
    dataset = read_table(write(tree / "a.csv", rows))
    assert dict(dataset.skipped)["ant/0.png"] == "the file is empty"
    assert dict(dataset.skipped)["oak/11.png"] == "no such file"
    assert len(dataset.skipped) == 5


def message(path: Path) -> str:
    with pytest.raises(VLPromptError) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clear_errors(tree: Path) -> None:
    assert "does not exist" in message(tree / "none.csv")
    assert "must have a column 'label', got path, class" in message(
        write(tree / "a.csv", {"path": ["a"], "class": ["b"]})
    )
    assert "has no rows" in message(write(tree / "a.parquet", pl.DataFrame({"path": [], "label": []})))
    assert "row 2 of" in message(write(tree / "a.csv", {"path": ["a", "b"], "label": ["x", None]}))
    assert "a.parquet has no label; fill in the cell" in message(
        write(tree / "a.parquet", {"path": ["a", "b"], "label": [" ", "x"]})
    )
    assert "row 2 of" in message(write(tree / "a.parquet", {"path": ["a", "b"], "label": [1.0, float("nan")]}))
    two = {"path": ["a", "b"], "label": [1, 2], "class_name": ["x", "x"]}
    assert "class 'x' has two labels, '1' and '2'" in message(write(tree / "a.csv", two))
    two = {"path": ["a", "b"], "label": [1, 1], "class_name": ["x", "y"]}
    assert "has two classes with the same label" in message(write(tree / "a.csv", two))
    rows = {**ROWS, "split": ["train", "extra", "test", "test", "val"]}
    assert "split must be train, val or test, got 'extra'" in message(write(tree / "a.csv", rows))
    assert "only one class" in message(write(tree / "a.csv", {"path": ["ant/0.png"], "label": ["ant"]}))
    assert "none of the 2 images" in message(write(tree / "a.csv", {"path": ["x.png", "y.png"], "label": ["x", "y"]}))
    (tree / "a.parquet").write_bytes(b"not parquet")
    assert "cannot be read" in message(tree / "a.parquet")
    (tree / "a.csv").write_bytes(b"")
    assert "cannot be read" in message(tree / "a.csv")
