"""Initial values of prompts from words and noise, and the depth of deep prompts."""

import pytest
import torch

from tests.helpers.shapes import TEXT_WIDTH, uneven
from vlprompt import VLPromptError
from vlprompt.methods.init import context_and_words, prompt_depth


@pytest.mark.parametrize(
    ("length", "words", "left"),
    [
        (4, "a photo of a", ""),
        (2, "a photo of a", "of a"),
        (1, "a_photo_of_a ", "photo of a"),
        (2, "a photo, blurred", ", blurred"),
        (1, "héliport", None),
    ],
)
def test_words_are_split_into_learned_and_frozen(length: int, words: str, left: str | None) -> None:
    tower = uneven().text
    context, frozen = context_and_words(uneven(), length, words)
    whole = tower.words(words.replace("_", " "))
    torch.testing.assert_close(context, whole[:length])
    if left is not None:
        assert frozen == left
    assert tower.tokenizer.encode(frozen) == tower.tokenizer.encode(words.replace("_", " "))[length:]


def test_vectors_beyond_the_words_are_random() -> None:
    torch.manual_seed(0)
    context, frozen = context_and_words(uneven(), 40, "a photo")
    assert (context.shape, frozen) == ((40, TEXT_WIDTH), "")
    torch.testing.assert_close(context[:2], uneven().text.words("a photo"))
    assert 0.018 < context[2:].std() < 0.022


@pytest.mark.parametrize("words", [None, ""])
def test_context_without_words_is_random(words: str | None) -> None:
    context, frozen = context_and_words(uneven(), 40, words)
    assert frozen == ""
    assert 0.018 < context.std() < 0.022


def test_cut_through_a_character_is_rejected() -> None:
    with pytest.raises(VLPromptError, match="3 context vectors end inside a word of ctx_init='日本語'"):
        context_and_words(uneven(), 3, "日本語")


def test_default_depth_is_limited_by_the_tower() -> None:
    assert prompt_depth("depth", None, 9, 12) == 9
    assert prompt_depth("depth", None, 9, 3) == 3
    assert prompt_depth("depth", 3, 9, 3) == 3
    with pytest.raises(VLPromptError, match="depth_text must be at most 3, the number of layers of the tower, got 4"):
        prompt_depth("depth_text", 4, 9, 3)
