import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlprompt.data.class_names import read_class_names, words_for
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


def test_a_csv_may_have_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('folder,words\nn01,"tench, the fish"\n')
    assert words_for(["n01"], tmp_path / "a.csv") == ("tench, the fish",)


BROKEN = {
    "a.json": ('{"a": ', "is broken"),
    "b.yaml": ("a: [", "is broken"),
    "c.json": ('["a", "b"]', "must map class folders"),
    "d.csv": ("a,b,c\n", "needs two columns, folder and words; got 'a,b,c'"),
    "e.txt": ("a b", r"takes a \.json, \.yaml or \.csv file, not '\.txt'"),
    "f": ("a b", "file, not 'f'"),
    "g.yaml": ("", "must map class folders"),
}


@pytest.mark.parametrize(("name", "case"), BROKEN.items())
def test_broken_files(tmp_path: Path, name: str, case: tuple[str, str]) -> None:
    content, message = case
    (tmp_path / name).write_text(content)
    with pytest.raises(VLPromptError, match=message) as caught:
        read_class_names(tmp_path / name)
    assert "--class-names" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match="cannot be read: No such file"):
        read_class_names(tmp_path / "none.json")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(VLPromptError, match="not UTF-8"):
        read_class_names(tmp_path / "a.csv")


def test_missing_words_are_named() -> None:
    with pytest.raises(VLPromptError, match="no words for 'b', 'c'; add"):
        words_for(["a", "b", "c"], {"a": "ant", "b": "  "})
    with pytest.raises(VLPromptError, match="'4' and 5 more"):
        words_for([str(number) for number in range(10)], {})


def test_without_a_mapping_underscores_are_spaces() -> None:
    assert words_for(["sea_lion", "_a__b_", "Great Dane", "x-ray"], None) == ("sea lion", "a b", "Great Dane", "x-ray")


def test_twins_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        assert words_for(["a", "b"], {"a": "crane", "b": "crane"}) == ("crane", "crane")
    assert "several classes are called 'crane'" in caplog.text


@given(st.lists(st.text("ab_ ", min_size=1), min_size=1))
def test_words_have_no_underscore_and_no_loose_space(names: list[str]) -> None:
    for word in words_for(names, None):
        assert "_" not in word
        assert word == " ".join(word.split())
