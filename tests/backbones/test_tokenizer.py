"""Tokens against open_clip's, and texts that are too long."""

import sys
from types import ModuleType, SimpleNamespace

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlprompt.backbones.tokenizer import clip_tokenizer, hub_tokenizer
from vlprompt.errors import VLPromptError

CLIP = clip_tokenizer(77)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_tokens_match_open_clip(texts: list[str]) -> None:
    assert torch.equal(CLIP(texts), open_clip.tokenize(texts))


def test_special_tokens_and_padding() -> None:
    tokens = CLIP("a red apple")
    assert tokens.shape == (1, 77)
    assert tokens.dtype == torch.long
    assert tokens[0, :6].tolist() == [49406, 320, 736, 3055, 49407, 0]
    assert (CLIP.sos, CLIP.eot, CLIP.pad) == (49406, 49407, 0)


def test_encode_without_special_tokens() -> None:
    assert CLIP.encode("red apple") == [736, 3055]
    assert CLIP.encode("red_apple") != CLIP.encode("red apple")
    CLIP.encode("red apple").append(0)
    assert CLIP.encode("red apple") == [736, 3055], "the cached tokens are the tokenizer's own"


def test_empty_list_of_texts() -> None:
    assert CLIP([]).shape == (0, 77)


def test_context_length_of_the_model() -> None:
    assert clip_tokenizer(16)(["a cat", "a dog"]).shape == (2, 16)


def test_longest_text_that_fits() -> None:
    short = clip_tokenizer(5)
    assert short("a red apple")[0, -1] == short.eot


def test_too_long_text_is_reported_with_its_token_count() -> None:
    with pytest.raises(VLPromptError, match=r"'a red apple' must have at most 4 tokens .* got 5"):
        clip_tokenizer(4)(["a cat", "a red apple"])


def test_long_text_is_shortened_in_the_message() -> None:
    with pytest.raises(VLPromptError) as caught:
        CLIP("apple " * 90)
    assert "got 92" in str(caught.value)
    assert len(str(caught.value)) < 200


def fake_transformers(monkeypatch: pytest.MonkeyPatch, special: tuple[list[int], list[int]], pad: int) -> None:
    """Install a fake `transformers` whose tokenizer has one token per letter."""
    front, back = special

    class Letters:
        def __call__(self, texts: str | list[str], **options: object) -> SimpleNamespace:
            if options.get("add_special_tokens") is False:
                return SimpleNamespace(input_ids=[ord(letter) for letter in texts])
            rows = [front + [ord(letter) for letter in text] + back for text in texts]
            length = int(str(options["max_length"]))
            return SimpleNamespace(input_ids=torch.tensor([row + [pad] * (length - len(row)) for row in rows]))

        sep_token_id = 102

    module = ModuleType("transformers")
    module.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name, **_: Letters())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_sentencepiece_without_a_start_token(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_transformers(monkeypatch, ([], [1]), pad=1)
    siglip = hub_tokenizer("some/siglip", 8, clean="canonicalize")
    assert (siglip.sos, siglip.eot, siglip.pad) == (None, 1, 1)
    assert siglip.encode("Ab.") == [97, 98]
    assert siglip("Ab.").tolist() == [[97, 98, 1, 1, 1, 1, 1, 1]]


def test_stripped_separator_token(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_transformers(monkeypatch, ([101], [102]), pad=0)
    bert = hub_tokenizer("some/bert", 6, strip_sep_token=True)
    assert (bert.sos, bert.eot, bert.pad) == (101, 0, 0)
    assert bert("ab").tolist() == [[101, 97, 98, 0, 0, 0]]


def test_unavailable_tokenizer_fails_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    siglip = hub_tokenizer("some/siglip", 64)
    with pytest.raises(
        VLPromptError, match=r"'some/siglip' cannot be loaded .*requires transformers .pip install .*hf"
    ):
        siglip("a cat")
