import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlprompt.data.class_names import as_words, in_order, read_name_map, words_for
from vlprompt.errors import VLPromptError

FILES = {
    "names.json": '{"n01": "tench", "2": "gold fish"}',
    "names.yaml": "n01: tench\n2: gold fish\n",
    "names.yml": "{n01: tench, 2: gold fish}",
    "names.csv": "n01,tench\n2, gold fish\n\n",
}


@pytest.mark.parametrize(("name", "content"), FILES.items())
def test_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    assert words_for(["2", "n01"], tmp_path / name) == ("gold fish", "tench")


def test_csv_with_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('folder,words\nn01,"tench, the fish"\n')
    assert words_for(["n01"], tmp_path / "a.csv") == ("tench, the fish",)


WORDS = (
    "no",
    "yes",
    "010",
    "0x1F",
    "1e3",
    "12:30:45",
    "2024-01-01",
    "~",
    "null",
    "*star",
    "&and",
    "!wow",
    "@home",
    "a*",
)


@pytest.mark.parametrize("word", WORDS)
def test_names_are_text_as_written(word: str, tmp_path: Path) -> None:
    """YAML would read some of these as booleans, numbers, times, dates, None or references."""
    (tmp_path / "a.yaml").write_text(f"n1: {word}\n{word}: key\n")
    (tmp_path / "a.json").write_text(json.dumps({"n1": word, word: "key"}))
    (tmp_path / "a.csv").write_text(f"n1,{word}\n{word},key\n")
    for name in ("a.yaml", "a.json", "a.csv"):
        assert words_for(["n1", word], tmp_path / name) == (word, "key")


def test_json_numbers_stay_as_written_and_other_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n1": 1e3, "n2": 10}')
    assert read_name_map(tmp_path / "a.json") == {"n1": "1e3", "n2": "10"}
    for content in ('{"n1": true}', '{"n1": null}', '{"n1": ["a"]}', '{"n1": {}}'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(VLPromptError, match="must map each class folder"):
            read_name_map(tmp_path / "a.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_spreadsheets(encoding: str, separator: str, end: str, tmp_path: Path) -> None:
    rows = ["cat,the cat", "höhle,a; b"] if separator == "\t" else ["cat", "höhle"]
    lines = [f"{folder}{separator}a {folder}" for folder in rows]
    (tmp_path / "a.csv").write_bytes(end.join([*lines, ""]).encode(encoding))
    assert read_name_map(tmp_path / "a.csv") == {folder: f"a {folder}" for folder in rows}


BROKEN = {
    "a.json": ('{"a": ', "cannot be parsed"),
    "b.yaml": ("a: [", "cannot be parsed"),
    "c.json": ('["a", "b"]', "must map each class folder"),
    "d.csv": ("a,b,c\n", "must have two columns, folder and words; got 'a,b,c'"),
    "e.txt": ("a b", r"must be a \.json, \.yaml, \.yml, \.csv or \.tsv file, got '\.txt'"),
    "f": ("a b", "file, got 'f'"),
    "g.yaml": ("", "must map each class folder"),
}


@pytest.mark.parametrize(("name", "case"), BROKEN.items())
def test_broken_files(tmp_path: Path, name: str, case: tuple[str, str]) -> None:
    content, message = case
    (tmp_path / name).write_text(content)
    with pytest.raises(VLPromptError, match=message) as caught:
        read_name_map(tmp_path / name)
    assert "`name_map`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match="cannot be read: No such file"):
        read_name_map(tmp_path / "none.json")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(VLPromptError, match="not UTF-8"):
        read_name_map(tmp_path / "a.csv")


def test_missing_words_are_reported() -> None:
    with pytest.raises(VLPromptError, match="no words for 'b', 'c'; add"):
        words_for(["a", "b", "c"], {"a": "ant", "b": "  "})
    with pytest.raises(VLPromptError, match="'4' and 5 more"):
        words_for([str(number) for number in range(10)], {})


def test_underscores_become_spaces_without_a_mapping() -> None:
    assert words_for(["sea_lion", "_a__b_", "Great Dane", "x-ray"], None) == ("sea lion", "a b", "Great Dane", "x-ray")


def test_mapping_keys_as_words() -> None:
    """Dataset names are already words, but users may know either form."""
    for classes in (["sea lion"], ["sea_lion"]):
        for key in ("sea lion", "sea_lion"):
            assert words_for(classes, {key: "Sea_lion, the  animal"}) == ("Sea lion, the animal",)


def test_duplicate_names_are_reported_by_folder() -> None:
    with pytest.raises(VLPromptError, match="classes 'a' and 'c' are both called 'crane'; give them different words"):
        words_for(["a", "b", "c"], {"a": "crane", "b": "ant", "c": "crane"})
    with pytest.raises(VLPromptError, match="classes 'sea_lion' and 'sea lion' are both called 'sea lion'"):
        words_for(["sea_lion", "sea lion"])
    with pytest.raises(VLPromptError, match="class '__' has no words"):
        words_for(["a", "__"])


def test_numeric_names_are_sorted_by_value() -> None:
    assert in_order(["10", "9", "-1", "2.5"]) == ["-1", "2.5", "9", "10"]
    assert in_order(["10", "9", "09"]) == ["09", "10", "9"]
    assert in_order(["b", "a", "10", "9"]) == ["10", "9", "a", "b"]


@given(st.lists(st.text("ab_ ", min_size=1), min_size=1))
def test_words_have_no_underscores_or_extra_spaces(names: list[str]) -> None:
    try:
        words = words_for(names)
    except VLPromptError:
        found = [" ".join(name.replace("_", " ").split()) for name in names]
        assert "" in found or len(set(found)) < len(found)
        return
    assert as_words(names) == words
    for word in words:
        assert "_" not in word
        assert word == " ".join(word.split())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "n1: {}\nn1: {}\n"),
        ("a.json", '{{"n1": "{}", "n1": "{}"}}'),
        ("a.csv", "n1,{}\nn1,{}\n"),
        ("a.tsv", "n1\t{}\nn1\t{}\n"),
    ],
)
def test_two_words_for_one_folder(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text.format("cat", "dog"))
    with pytest.raises(VLPromptError, match=r"cannot be parsed: 'n1' has two values, 'cat' and 'dog'$"):
        read_name_map(path)
    path.write_text(text.format("cat", "cat"))
    assert read_name_map(path) == {"n1": "cat"}
