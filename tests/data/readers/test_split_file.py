"""Split files: round trip, detection of changes, and user-written files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.data.readers.split_file import read_split, verify_split, write_split
from vlprompt.errors import VLPromptError


@pytest.fixture
def drawn(tree: Path) -> Dataset:
    return replace(load_dataset(tree), template="a drawing of a {}.").few_shot(2, seed=7)


def rewritten(path: Path, number: int, **changes: Any) -> None:
    lines = path.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changes})
    path.write_text("\n".join(lines) + "\n")


def own(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n\n".join(map(json.dumps, rows)))
    return path


def test_split_file_round_trip(drawn: Dataset, tree: Path, tmp_path: Path) -> None:
    header = write_split(drawn, tmp_path / "split.jsonl")
    again = load_dataset(tmp_path / "split.jsonl", root=tree)
    assert again.split_hash() == drawn.split_hash() == header.hash
    assert replace(again, source="", license="") == replace(drawn, source="", license="", split_seed=None)
    assert again.drawn == (header.shots, header.seed) == (2, 7)
    write_split(again, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "split.jsonl").read_bytes()


def test_split_file_rows(drawn: Dataset, tmp_path: Path) -> None:
    write_split(drawn, tmp_path / "split.jsonl")
    header, *rows = map(json.loads, (tmp_path / "split.jsonl").read_text().splitlines())
    assert list(header) == ["vlprompt_split", "dataset", "template", "shots", "seed", "classes", "hash", "content"]
    assert {tuple(row) for row in rows} == {("path", "label", "class_name", "split", "sha256")}
    assert {row["class_name"] for row in rows} == {"ant", "oak", "sea lion"}
    assert [row["split"] for row in rows] == ["train"] * 6 + ["val"] * 6 + ["test"] * 9
    assert not any(Path(row["path"]).is_absolute() for row in rows)


def test_few_shot_of_a_sample_is_unchanged(drawn: Dataset, tree: Path, tmp_path: Path) -> None:
    write_split(drawn, tmp_path / "split.jsonl")
    again = read_split(tmp_path / "split.jsonl", tree)
    assert again.few_shot(2, seed=1) == again.few_shot(16, seed=2) == again
    fewer = again.few_shot(1, seed=1)
    assert (len(fewer.train), fewer.drawn) == (3, (1, 1))
    assert set(fewer.train) < set(again.train)
    assert again.short_of(3) == {"ant": 2, "oak": 2, "sea lion": 2}


def test_content_hash_is_independent_of_folders(drawn: Dataset, tree: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    tree.rename(moved)
    for folder in list(moved.iterdir()):
        folder.rename(moved / f"class of {folder.name}")
    there = replace(drawn, root=moved)
    for split in ("train", "val", "test"):
        items = tuple(replace(item, path=f"class of {item.path}") for item in getattr(drawn, split))
        there = replace(there, **{split: items})
    theirs = write_split(there, tmp_path / "theirs.jsonl")
    assert theirs.hash != drawn.split_hash()

    other = write_split(replace(there, train=there.train[::-1]), tmp_path / "other.jsonl")
    renamed = write_split(replace(there, class_names=("a", "b", "c")), tmp_path / "renamed.jsonl")
    moved.rename(tree)
    for folder in list(tree.iterdir()):
        folder.rename(tree / folder.name.removeprefix("class of "))
    ours = write_split(drawn, tmp_path / "ours.jsonl")
    assert ours.content == theirs.content
    assert len({ours.content, other.content, renamed.content}) == 3


@pytest.mark.parametrize(
    ("number", "changes"),
    [(0, {"classes": ["oak", "ant", "sea lion"]}), (1, {"label": 2}), (3, {"split": "val"}), (5, {"sha256": "0"}),
     (2, {"class_name": "elm"}), (1, {"label": 3})],
)  # fmt: skip
def test_modified_split_file_is_rejected(
    number: int, changes: dict[str, Any], drawn: Dataset, tree: Path, tmp_path: Path
) -> None:
    write_split(drawn, tmp_path / "split.jsonl")
    rewritten(tmp_path / "split.jsonl", number, **changes)
    with pytest.raises(VLPromptError, match="was changed after it was written: its lines do not match its header"):
        read_split(tmp_path / "split.jsonl", tree)


def test_verify_split(drawn: Dataset, tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.jsonl"
    write_split(drawn, path)
    assert verify_split(path, tree) == {}
    first, second = drawn.train[0].path, drawn.test[0].path
    (tree / first).write_bytes((tree / drawn.train[1].path).read_bytes())
    assert verify_split(path, tree) == {first: "has changed"}
    (tree / second).unlink()
    assert verify_split(path, tree) == {first: "has changed", second: "is missing"}
    with pytest.raises(
        VLPromptError, match=rf"1 of 21 images of .* are not in .*, the first is {second}; give their folder as `root`"
    ):
        read_split(path, tree)
    (tree / second).write_bytes(b"\x89PNG")
    with pytest.raises(VLPromptError, match=r"1 images of .* cannot be read"):
        read_split(path, tree)


def test_split_file_with_name_map(drawn: Dataset, tree: Path, tmp_path: Path) -> None:
    write_split(drawn, tmp_path / "split.jsonl")
    words = {"ant": "emmet", "oak": "oak tree", "sea lion": "otary"}
    assert read_split(tmp_path / "split.jsonl", tree, name_map=words).class_names == tuple(words.values())


def test_user_written_split_file(tree: Path) -> None:
    rows = [
        {"path": f"{name}/{n}.png", "label": label, "class_name": name, "split": split, "note": "more is no harm"}
        for label, name in ((7, "oak"), (3, "sea_lion"))
        for n, split in enumerate(("train", "train", "validation", "test"))
    ]
    found = load_dataset(own(tree / "mine.jsonl", *rows))
    assert (found.name, found.root, found.class_names) == ("mine", tree, ("sea lion", "oak"))
    assert [item.label for item in found.train] == [1, 1, 0, 0]
    assert (len(found.val), len(found.test), found.drawn) == (2, 2, None)
    assert load_dataset(tree / "mine.jsonl", name_map={"oak": "tree", "sea_lion": "otary"}).class_names[1] == "tree"


def test_user_written_split_file_with_few_fields(tree: Path, tmp_path: Path) -> None:
    rows = [{"path": f"{name}/{n}.png", "class_name": name} for name in ("oak", "ant") for n in range(10)]
    found = read_split(own(tmp_path / "mine.jsonl", *rows), tree)
    assert found.class_names == ("ant", "oak")
    assert [len(items) for items in (found.train, found.val, found.test)] == [10, 4, 6]
    assert read_split(tmp_path / "mine.jsonl", tree, split_seed=2).split_hash() != found.split_hash()
    numbers = [{"path": f"ant/{n}.png", "label": n, "split": "test"} for n in range(10)]
    assert read_split(own(tmp_path / "numbers.jsonl", *numbers), tree).class_names == tuple(map(str, range(10)))


def test_user_written_split_file_is_normalized(tree: Path, tmp_path: Path) -> None:
    rows = [
        {"path": f"{name}/{n}.png", "label": label, "class_name": None, "split": split}
        for name, label in (("oak", "oak"), ("ant", " ant"))
        for n, split in enumerate(("Train", "TEST", "valid "))
    ]
    rows[-1]["label"] = "ant "
    found = read_split(own(tmp_path / "mine.jsonl", *rows), tree)
    assert (found.class_names, len(found.train), len(found.val), len(found.test)) == (("ant", "oak"), 2, 2, 2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        ([{"path": "a.png", "class_name": " "}], "line 1 of split file .* must have path, and class_name or label"),
        ([[1]], "line 1 of split file .* must be a mapping"),
        ([{"path": "a.png"}], "line 1 of split file .* must have path, and class_name or label"),
        ([{"path": "a.png", "label": 0, "split": "extra"}], "line 1 .* split must be train, val or test, got 'extra'"),
        ([{"path": "a", "label": 0, "split": "test"}, {"path": "b", "label": 1}], "line 3 .*: split must be in all"),
        ([{"path": "a", "label": 0, "class_name": "x"}, {"path": "b", "label": 1, "class_name": "x"}],
         "line 3 .*: class 'x' has two labels, 0 and 1"),
        ([{"path": "a", "label": 0, "class_name": "x"}, {"path": "b", "label": 0, "class_name": "y"}],
         "has two classes with the same label"),
        ([{"vlprompt_split": 1, "dataset": "x"}], r"line 1 .* cannot be read \(template is missing\)"),
        ([{"vlprompt_split": 2}], "line 1 of split file .* cannot be read"),
    ],
)  # fmt: skip
def test_unreadable_files(lines: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=message):
        read_split(own(tmp_path / "mine.jsonl", *lines))


def test_invalid_split_lines(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=r"none\.jsonl cannot be read: No such file"):
        read_split(tmp_path / "none.jsonl")
    (tmp_path / "text.jsonl").write_text("path,label\n")
    with pytest.raises(VLPromptError, match=r"line 1 of split file .* must be JSON"):
        read_split(tmp_path / "text.jsonl")
    rows = [{"path": f"{name}/0.png", "class_name": name, "split": "test"} for name in ("oak", "ant")]
    with pytest.raises(VLPromptError, match="has no header, so its images cannot be verified"):
        verify_split(own(tmp_path / "mine.jsonl", *rows), tree)
