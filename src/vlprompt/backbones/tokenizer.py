"""Text to tokens: what every text tower reads, whichever vocabulary it was trained with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Self

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from vlprompt.errors import VLPromptError
from vlprompt.utils.text import first_line

CLIP_VOCABULARY_SIZE = 49408


@dataclass(frozen=True)
class Vocabulary:
    """How text becomes tokens and back, and the tokens around it; `sos` is None where none is put in front."""

    encode: Callable[[str], list[int]]
    sos: int | None
    eot: int
    pad: int
    word: Callable[[int], str] = str


class Tokenizer:
    """Tokens of a text as one text tower reads them: `[sos] text eot pad pad ...`, `context_length` in all.

    `load` gives the vocabulary and is called at first use, since some have to be fetched from a hub.
    """

    def __init__(self, context_length: int, load: Callable[[], Vocabulary]) -> None:
        self.context_length = context_length
        self._load = load
        self._tokens = lru_cache(maxsize=1 << 16)(self._encode)

    def __reduce__(self) -> tuple[type[Self], tuple[int, Callable[[], Vocabulary]]]:
        # scikit-learn sends fitted estimators between processes; what was read and remembered is found again there.
        return type(self), (self.context_length, self._load)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return self._load()

    @property
    def sos(self) -> int | None:
        """The token in front of every text, None where the tower was trained without one."""
        return self._vocabulary.sos

    @property
    def eot(self) -> int:
        """The token behind every text."""
        return self._vocabulary.eot

    @property
    def pad(self) -> int:
        """The token that fills up to `context_length`."""
        return self._vocabulary.pad

    def encode(self, text: str) -> list[int]:
        """Tokens of `text` alone, without special tokens; underscores are left as they are."""
        return list(self._tokens(text))

    def word(self, token: int) -> str:
        """What a token stands for; a hyphen at its end or start says that the word goes on there."""
        return self._vocabulary.word(token)

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Tokens (N, context_length) of N texts, with special tokens and padding, as open_clip makes them.

        Raises VLPromptError for a text that does not fit; nothing is cut.
        """
        rows = [self._row(text) for text in ([texts] if isinstance(texts, str) else texts)]
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.context_length)

    def check_names(self, template: str, names: Sequence[str]) -> None:
        """VLPromptError, naming the class, where a name is too long to stand in the template."""
        words = len(self._tokens(template))
        for name in names:
            count = len(self._tokens(name))
            # Beside other letters a name may have a few tokens more or less; so far from the limit they do not matter.
            if words + count <= self.context_length // 2:
                continue
            room = self.context_length - len(self._sentence(template.format(name))) + count
            if room < 1:
                raise VLPromptError(
                    f"template {_shown(template)!r} leaves no room for a class name among {self.context_length} "
                    "tokens; shorten it"
                )
            if count > room:
                raise VLPromptError(
                    f"class name {_shown(name)!r} is too long: {count} tokens, room for {room} in template "
                    f"{_shown(template)!r}; shorten the name (--class-names) or the template"
                )

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._vocabulary.encode(text))

    def _sentence(self, text: str) -> list[int]:
        front = [] if self.sos is None else [self.sos]
        return [*front, *self._tokens(text), self.eot]

    def _row(self, text: str) -> list[int]:
        row = self._sentence(text)
        if len(row) > self.context_length:
            raise VLPromptError(
                f"text {_shown(text)!r} has {len(row)} tokens with its special ones, the model reads "
                f"{self.context_length}; shorten the class name or the template"
            )
        return row + [self.pad] * (self.context_length - len(row))


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


@lru_cache
def clip_bpe(clean: str = "lower") -> SimpleTokenizer:
    """CLIP's byte-pair encoding of 49,408 tokens; `clean` is how a text is tidied first ("lower" in CLIP)."""
    return SimpleTokenizer(clean=clean)


def clip_tokenizer(context_length: int, clean: str = "lower") -> Tokenizer:
    """The tokenizer of OpenAI's CLIP and of most open_clip models."""
    return Tokenizer(context_length, partial(_clip_vocabulary, clean))


def hub_tokenizer(source: str, context_length: int, **options: Any) -> Tokenizer:
    """A tokenizer of the `transformers` package, such as SigLIP's, read from a hub or a folder at first use.

    `options` are those of open_clip's HFTokenizer. Raises VLPromptError, at first use, where it can't be had.
    """
    return Tokenizer(context_length, partial(_hub_vocabulary, source, context_length, **options))


def _clip_vocabulary(clean: str) -> Vocabulary:
    bpe = clip_bpe(clean)

    def word(token: int) -> str:
        text = bpe.decode([token])
        whole = text.endswith(" ") or token >= bpe.sot_token_id
        return text.rstrip(" ") if whole else f"{text}-"

    return Vocabulary(bpe.encode, sos=bpe.sot_token_id, eot=bpe.eot_token_id, pad=0, word=word)


def _hub_vocabulary(source: str, context_length: int, **options: Any) -> Vocabulary:
    try:
        wrapped = HFTokenizer(source, context_length=context_length, **options)
    except Exception as error:  # the package is missing, or the hub is: both come in many types
        reason = first_line(error)
        raise VLPromptError(
            f"the model's tokenizer {source!r} cannot be loaded ({reason}); it needs the package "
            "transformers (pip install transformers sentencepiece) and, once, the network"
        ) from error
    return _read_vocabulary(wrapped)


def _read_vocabulary(wrapped: HFTokenizer) -> Vocabulary:
    # Which special tokens come where differs between vocabularies and options: read it off one example.
    def encode(text: str) -> list[int]:
        tokens = wrapped.tokenizer(wrapped.clean_fn(text), add_special_tokens=False).input_ids
        return [int(token) for token in tokens]

    def word(token: int) -> str:
        # "▁" opens a word in SentencePiece's vocabularies.
        text = str(wrapped.tokenizer.convert_ids_to_tokens(token))
        return text.removeprefix("▁") if text.startswith(("▁", "<", "[")) else f"-{text}"

    plain = encode("a")
    row = [int(token) for token in wrapped("a")[0]]
    front = 0 if row[: len(plain)] == plain else 1
    return Vocabulary(
        encode,
        sos=row[0] if front else None,
        eot=row[front + len(plain)],
        pad=row[-1],
        word=word,
    )
