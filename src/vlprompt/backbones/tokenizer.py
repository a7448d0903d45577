"""Tokenizers of the text towers, with CLIP's vocabulary or that of another model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Self

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import first_line

CLIP_VOCABULARY_SIZE = 49408


@dataclass(frozen=True)
class Vocabulary:
    """Vocabulary: functions between text and token ids, and the special tokens.

    Attributes:
        encode: maps text to token ids, without special tokens.
        sos: start token; None for a tower that was trained without one.
        eot: token after every text.
        pad: padding token.
        unknown: token of words that the vocabulary lacks; None if it spells every word.
        word: maps a token id to readable text.
    """

    encode: Callable[[str], list[int]]
    sos: int | None
    eot: int
    pad: int
    unknown: int | None = None
    word: Callable[[int], str] = str


class Tokenizer:
    """Tokenizer of a text tower, which returns `[sos] text eot pad pad ...` with `context_length` tokens.

    Args:
        context_length: number of tokens that the tower reads.
        load: function that returns the vocabulary; called at first use, since some are downloaded from a hub.

    Examples:
        >>> tokenizer = clip_tokenizer(77)
        >>> tuple(tokenizer(["a photo of a cat.", "a photo of a dog."]).shape)
        (2, 77)
    """

    def __init__(self, context_length: int, load: Callable[[], Vocabulary]) -> None:
        self.context_length = context_length
        self._load = load
        self._tokens = lru_cache(maxsize=1 << 16)(self._encode)

    def __reduce__(self) -> tuple[type[Self], tuple[int, Callable[[], Vocabulary]]]:
        # scikit-learn pickles fitted estimators to send them to other processes; the vocabulary is loaded again there.
        return type(self), (self.context_length, self._load)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return self._load()

    @property
    def sos(self) -> int | None:
        """Start token before every text; None if the tower was trained without one."""
        return self._vocabulary.sos

    @property
    def eot(self) -> int:
        """Token after every text."""
        return self._vocabulary.eot

    @property
    def pad(self) -> int:
        """Padding token."""
        return self._vocabulary.pad

    @property
    def unknown(self) -> int | None:
        """Token of words that the vocabulary lacks; None if it spells every word."""
        return self._vocabulary.unknown

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text` without special tokens; underscores are kept."""
        return list(self._tokens(text))

    def word(self, token: int) -> str:
        """Return the text of a token; a hyphen at its start or end marks a word that continues there."""
        return self._vocabulary.word(token)

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Return tokens (N, context_length) of N texts with special tokens and padding, equal to open_clip's.

        Raises:
            VLPromptError: a text is longer than `context_length`; texts are never truncated.
        """
        rows = [self._row(text) for text in ([texts] if isinstance(texts, str) else texts)]
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.context_length)

    def check_names(self, template: str, names: Sequence[str]) -> None:
        """Raise VLPromptError, naming the class, if a name is too long for the template."""
        words = len(self._tokens(template))
        for name in names:
            count = len(self._tokens(name))
            # In a sentence a name can take a few more or fewer tokens, which does not matter this far below the limit.
            if words + count <= self.context_length // 2:
                continue
            room = self.context_length - len(self._sentence(template.format(name))) + count
            if room < 1:
                raise VLPromptError(
                    f"template {shown(template)!r} leaves no room for a class name in a context of "
                    f"{self.context_length} tokens; shorten it"
                )
            if count > room:
                raise VLPromptError(
                    f"class name {shown(name)!r} is too long: {count} tokens, room for {room} in template "
                    f"{shown(template)!r}; shorten the name (`name_map`) or the template"
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
                f"text {shown(text)!r} must have at most {self.context_length} tokens including special ones, "
                f"got {len(row)}; shorten the class name or the template"
            )
        return row + [self.pad] * (self.context_length - len(row))


def shown(text: str) -> str:
    """Return a text as messages quote it: at most 80 characters of it."""
    return text if len(text) <= 80 else f"{text[:77]}..."


@lru_cache
def clip_bpe(clean: str = "lower") -> SimpleTokenizer:
    """Return CLIP's byte-pair encoding of 49,408 tokens; `clean` names the text cleaning ("lower" in CLIP)."""
    return SimpleTokenizer(clean=clean)


def clip_tokenizer(context_length: int, clean: str = "lower") -> Tokenizer:
    """Return the tokenizer of OpenAI's CLIP and of most open_clip models."""
    return Tokenizer(context_length, partial(_clip_vocabulary, clean))


def hub_tokenizer(source: str, context_length: int, **options: Any) -> Tokenizer:
    """Return a tokenizer of the `transformers` package, such as SigLIP's, loaded from a hub or folder at first use.

    `options` are passed to open_clip's HFTokenizer. If it cannot be loaded, the first use raises VLPromptError.
    """
    return Tokenizer(context_length, partial(_hub_vocabulary, source, context_length, **options))


def file_tokenizer(path: Path, context_length: int) -> Tokenizer:
    """Return the tokenizer in a `tokenizer.json` with BERT's special tokens, read by the `tokenizers` package.

    If it cannot be loaded, the first use raises VLPromptError.
    """
    return Tokenizer(context_length, partial(_file_vocabulary, path))


def _clip_vocabulary(clean: str) -> Vocabulary:
    bpe = clip_bpe(clean)

    def word(token: int) -> str:
        text = bpe.decode([token])
        whole = text.endswith(" ") or token >= bpe.sot_token_id
        return text.rstrip(" ") if whole else f"{text}-"

    return Vocabulary(bpe.encode, sos=bpe.sot_token_id, eot=bpe.eot_token_id, pad=0, word=word)


def _file_vocabulary(path: Path) -> Vocabulary:
    try:
        from tokenizers import Tokenizer as FileTokenizer
    except ImportError as error:
        raise VLPromptError(f"{path} is read by the tokenizers package; run: pip install tokenizers") from error
    read = FileTokenizer.from_file(str(path))
    read.no_truncation()
    read.no_padding()
    special: dict[str, Any] = {name: read.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]")}
    if None in special.values():
        raise VLPromptError(f"{path} lacks one of {', '.join(special)}; only vocabularies of BERT's kind are supported")

    def encode(text: str) -> list[int]:
        tokens: list[int] = read.encode(text, add_special_tokens=False).ids
        return tokens

    def word(token: int) -> str:
        text = str(read.id_to_token(token))
        return f"-{text.removeprefix('##')}" if text.startswith("##") else text

    unknown = read.token_to_id("[UNK]")
    return Vocabulary(
        encode, sos=special["[CLS]"], eot=special["[SEP]"], pad=special["[PAD]"], unknown=unknown, word=word
    )


def _hub_vocabulary(source: str, context_length: int, **options: Any) -> Vocabulary:
    try:
        wrapped = HFTokenizer(source, context_length=context_length, **options)
    except Exception as error:  # a missing package or network; both raise many types
        reason = first_line(error)
        raise VLPromptError(
            f"the model's tokenizer {source!r} cannot be loaded ({reason}); it requires transformers "
            '(pip install "vlprompt[hf]") and, at first use, network access'
        ) from error
    return _read_vocabulary(wrapped)


def _read_vocabulary(wrapped: HFTokenizer) -> Vocabulary:
    # Special tokens differ between vocabularies and options; infer them from an example.
    def encode(text: str) -> list[int]:
        tokens = wrapped.tokenizer(wrapped.clean_fn(text), add_special_tokens=False).input_ids
        return [int(token) for token in tokens]

    def word(token: int) -> str:
        # "▁" starts a word in SentencePiece vocabularies.
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
        unknown=getattr(wrapped.tokenizer, "unk_token_id", None),
        word=word,
    )
