"""Class names that a model reads as the same text, or as nothing, and names that nobody can see."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

import vlprompt
from tests.helpers.records import write_run
from vlprompt import VLPromptError
from vlprompt.classifier.classifier import Classifier
from vlprompt.data.class_names import as_words, words_for
from vlprompt.methods import base
from vlprompt.runs.record import read_record


@pytest.fixture(autouse=True)
def fresh() -> None:
    base._warn_once.cache_clear()


@pytest.fixture(scope="module")
def backbone() -> Any:
    return vlprompt.load_backbone("embedded", device="cpu")


TWINS = [("cat", "Cat"), ("cat", "CAT"), ("ice cream", "Ice Cream"), ("b&b", "b&amp;b")]


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_names_with_the_same_tokens_are_refused(backbone: Any, one: str, other: str) -> None:
    message = f"holds {one!r} and {other!r}, which the model reads as the same text"
    with pytest.raises(VLPromptError, match=message):
        vlprompt.create_method("coop", backbone, [one, other], n_ctx=2)
    method = vlprompt.create_method("coop", backbone, ["dog", "sun"], n_ctx=2)
    with pytest.raises(VLPromptError, match=message):
        method.set_class_names([one, other])
    assert method.class_names == ("dog", "sun")
    with pytest.raises(VLPromptError, match=message):
        method.check_names([one, other])


def test_class_bound_method_tells_such_names_apart(backbone: Any, caplog: pytest.LogCaptureFixture) -> None:
    vlprompt.create_method("coop", backbone, ["cat", "Cat"], n_ctx=2, class_specific=True)
    assert "'cat' and 'Cat', which the model reads as the same text; only what is learned" in caplog.text


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        (["猫", "犬"], "'猫' and '犬', which the model reads as the same text, since it does not know their words"),
        (["cat 猫", "cat 犬"], "'cat 猫' and 'cat 犬', which the model reads as the same text"),
        (["cat", "猫"], "the model knows no word of '猫'; use plain English words"),
        (["cat", "dog"], ""),
    ],
)
def test_unknown_words(backbone: Any, names: list[str], warning: str, caplog: pytest.LogCaptureFixture) -> None:
    method = vlprompt.create_method("zero-shot", backbone, names)
    assert warning in caplog.text and bool(caplog.text) == bool(warning)
    features = method.text_features()
    assert features[0].equal(features[1]) == ("as the same text" in warning)
    method.set_class_names(names)
    assert caplog.text.count(warning) == 1 or not warning, "said once"


INVISIBLE = [
    "\u200b",
    "\u200e\u200f",
    "\u202e",
    "\ufeff",
    "\u00a0",
    "\u3164",
    "\u2800",
    "\x07",
    "\ufe0f",
    "\u200d",
    " _ ",
]


@pytest.mark.parametrize("name", INVISIBLE)
def test_invisible_names_are_refused(name: str) -> None:
    with pytest.raises(VLPromptError, match="empty name"):
        as_words(["dog", name])
    with pytest.raises(VLPromptError, match="has no words; rename it"):
        words_for(["dog", name])


@pytest.mark.parametrize(
    "name", ["cat\u200b", "\ufeffcat", "\u202ecat", "cat\u3164", "c\x00at", "cat\u00a0", "ca\u2060t"]
)
def test_invisible_characters_make_no_other_name(name: str) -> None:
    assert as_words([name]) == ("cat",)
    with pytest.raises(VLPromptError, match="which become the same name"):
        as_words(["cat", name])


def test_one_name_in_two_forms_of_unicode() -> None:
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for names in (forms, forms[::-1]):
        with pytest.raises(VLPromptError, match="which become the same name"):
            as_words(names)
    assert as_words(forms[1:]) == (forms[1],)


@pytest.mark.parametrize("name", ["👩‍🚀", "می‌خواهم", "C++", "!", "5", "naïve"])
def test_other_names_stay(name: str) -> None:
    assert as_words([name]) == (name,)


def test_added_classes_are_compared_with_the_others(backbone: Any, tmp_path: Path) -> None:
    write_run(tmp_path)
    classifier = Classifier(
        read_record(next(tmp_path.rglob("run.json")).parent),
        vlprompt.create_method("coop", backbone, ["cat", "dog"], n_ctx=2),
    )
    with pytest.raises(VLPromptError, match="'cat' and 'Cat', which the model reads as the same text"):
        classifier.add_classes(["sun", "Cat"])
    assert classifier.class_names == ("cat", "dog")
