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


BROKEN = {
    "a.json": ('{"a": ', "cannot be parsed"),
    "b.yaml": ("a: [", "cannot be parsed"),
    "c.json": ('["a", "b"]', "must map each class folder"),
    "d.csv": ("a,b,c\n", "must have two columns, folder and words; got 'a,b,c'"),
    "e.txt": ("a b", r"must be a \.json, \.yaml or \.csv file, got '\.txt'"),
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
