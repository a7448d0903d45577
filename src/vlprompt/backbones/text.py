"""`TextTower`, the base of the text towers: prompted sentences in one of two layouts, in chunks that bound memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlprompt.backbones.packing import Places, Sentences, arrange
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates, TextPrompts
from vlprompt.utils.machine import total_memory

# How the sentences lie in memory. Packed: without padding, in runs of equal length, which multiplies the least and
# suits a CPU. Padded: to the length of the longest, so that a layer takes a fixed number of kernels, which suits a GPU.
Layout = Literal["packed", "padded"]
KEPT_PER_PLACE = 16  # numbers per channel and layer that a pass keeps for gradients (measured: 8 to 16)
KEPT_SENTENCES = 256  # sets of sentences that a tower keeps laid out, such as one for each of CLIP's 80 templates


class TextTower(ABC):
    """Frozen text encoder that accepts prompts.

    Attributes:
        module: the loaded text encoder, whose weights are used without a copy.
        tokenizer: its tokenizer.
        width: width of token embeddings and context vectors, d_t.
        embed_dim: joint dimension of its features, D.
        depth: number of layers.
        context_length: maximum number of tokens.
        layouts: layouts that the tower supports.
        chunk_size: number of sentences per pass. With gradients enabled, several chunks are recomputed in the backward
            pass, which bounds memory. "auto" for as many as fit into a quarter of an accelerator's memory or an eighth
            of the machine's; None for all at once.
    """

    module: Any
    width: int
    embed_dim: int
    depth: int
    context_length: int
    layouts: ClassVar[tuple[Layout, ...]] = get_args(Layout)

    def __init__(self, module: nn.Module, tokenizer: Tokenizer) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.chunk_size: int | Literal["auto"] | None = "auto"
        self._layout = self._automatic_layout
        self._cache_sentences()

    def __getstate__(self) -> dict[str, Any]:
        # scikit-learn pickles fitted estimators to send them to other processes; a cache cannot be pickled.
        return {name: value for name, value in self.__dict__.items() if name not in ("_sentences", "_texts")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache_sentences()

    def _cache_sentences(self) -> None:
        self._sentences = lru_cache(maxsize=KEPT_SENTENCES)(self._arranged)
        self._texts = lru_cache(maxsize=KEPT_SENTENCES)(self._tokenized)

    @property
    def layout(self) -> Layout:
        """How sentences lie in memory, "packed" or "padded"; features and gradients are equal but for rounding.

        Set to "auto" for the faster one: padded on an accelerator, if the tower supports it, and packed on a CPU.

        Raises:
            VLPromptError: set to a layout that the tower does not support.
        """
        return self._layout

    @layout.setter
    def layout(self, layout: Layout | Literal["auto"]) -> None:
        if layout == "auto":
            layout = self._automatic_layout
        if layout not in self.layouts:
            known = ", ".join(("auto", *self.layouts))
            raise VLPromptError(f"`runtime.text_layout` must be one of {known} for this text tower, got {layout!r}")
        if layout != self._layout:
            self._layout = layout
            self._cache_sentences()

    @property
    def _automatic_layout(self) -> Layout:
        return self.layouts[0] if self.device.type == "cpu" else self.layouts[-1]

    @property
    @abstractmethod
    def token_table(self) -> Tensor:
        """Embeddings (V, d_t) of all V tokens, as loaded; zero for tokens missing from the weights."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.token_table.device

    @property
    def vocabulary(self) -> Tensor:
        """Embeddings (V, d_t), fp32, of all V tokens; zero for tokens missing from the weights."""
        return self.token_table.float()

    @cached_property
    def _unknown(self) -> frozenset[int]:
        missing = frozenset((~self.token_table.any(-1)).nonzero()[:, 0].tolist())
        return missing if self.tokenizer.unknown is None else missing | {self.tokenizer.unknown}

    def reading(self, text: str) -> tuple[int, ...]:
        """Return what the tower reads of a text: its tokens, with -1 for those that it does not know.

        It does not know words that its vocabulary lacks, and tokens that are missing from the weights.

        Texts with equal readings have equal features.
        """
        return tuple(-1 if token in self._unknown else token for token in self.tokenizer.encode(text))

    def words(self, text: str) -> Tensor:
        """Return token embeddings (n, d_t), fp32, of a text without special tokens, which initialize a context."""
        tokens = torch.tensor(self.tokenizer.encode(text), dtype=torch.long, device=self.device)
        return self.embed(tokens).float()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return embeddings (..., d_t) of tokens (...), without positions, in the dtype of the tower."""
        return nn.functional.embedding(tokens, self.token_table).to(self._dtype)

    def __call__(self, tokens: Tensor, updates: LowRankUpdates | None = None) -> Tensor:
        """Return features of token sentences.

        With dropout in the updates, the common start of the sentences is computed once, under one mask for all.

        Args:
            tokens: tensor with shape (N, context_length), from `tokenizer`.
            updates: low-rank updates of the attention, or None for the frozen tower.

        Returns:
            tensor with shape (N, D), fp32, not normalized.

        Raises:
            VLPromptError: the tower does not support the updates.
        """
        return self._run(self._frozen(tokens.cpu()), None, updates)

    def encode_texts(self, texts: Sequence[str], updates: LowRankUpdates | None = None) -> Tensor:
        """Return features (N, D), fp32, not normalized, of N texts, which are laid out at the first call.

        Args:
            texts: sentences in words.
            updates: low-rank updates of the attention, or None for the frozen tower.

        Raises:
            VLPromptError: a text is too long, or the tower does not support the updates.
        """
        return self._run(self._texts(tuple(texts), self.device), None, updates)

    def encode_prompts(
        self, prompts: TextPrompts, names: Sequence[str], updates: LowRankUpdates | None = None
    ) -> Tensor:
        """Return features of the prompted sentence of every class.

        Args:
            prompts: context vectors, shallow or deep.
            names: C class names as words.
            updates: low-rank updates of the attention, or None.

        Returns:
            tensor with shape (C, D), or (B, C, D) for a context per image; fp32, not normalized.

        Raises:
            VLPromptError: a name is too long to fit next to the prompts, or the tower does not support the prompts.
        """
        return self._run(self._prompted(prompts, names), prompts, updates)

    def check(self, prompts: TextPrompts | None, updates: LowRankUpdates | None, names: Sequence[str]) -> None:
        """Raise VLPromptError if the prompts or updates are not supported, or a name is too long beside the prompts."""
        if prompts is not None:
            self._prompted(prompts, names)

    def _prompted(self, prompts: TextPrompts, names: Sequence[str]) -> Sentences:
        return self._sentences(
            tuple(names), prompts.length, prompts.position, prompts.frozen_words, prompts.per == "class", self.device
        )

    def _arranged(
        self,
        names: tuple[str, ...],
        length: int,
        position: str,
        frozen_words: str,
        per_class: bool,
        device: torch.device,
    ) -> Sentences:
        tokens, slots = arrange(self.tokenizer, names, length=length, position=position, frozen_words=frozen_words)
        return self._sentences_of(tokens, slots, share_slots=not per_class).to(device)

    def _tokenized(self, texts: tuple[str, ...], device: torch.device) -> Sentences:
        return self._frozen(self.tokenizer(list(texts))).to(device)

    def _frozen(self, tokens: Tensor) -> Sentences:
        """Lay out sentences of tokens (N, S) without context vectors."""
        return self._sentences_of(tokens, torch.full_like(tokens, -1), share_slots=True)

    @abstractmethod
    def _sentences_of(self, tokens: Tensor, slots: Tensor, *, share_slots: bool) -> Sentences:
        """Lay out sentences of tokens and slots (C, S); `share_slots` where all classes have the same context."""

    @abstractmethod
    def _encoder(
        self, sentences: Sentences, prompts: TextPrompts | None, updates: LowRankUpdates | None, images: int
    ) -> Callable[[int, int], Tensor]:
        """Return a function that encodes the rests `begin` to `end` of the sentences.

        It returns features (P, end - begin, D) with P = `images` for a context per image, and P = 1 otherwise.
        """

    def _run(self, sentences: Sentences, prompts: TextPrompts | None, updates: LowRankUpdates | None) -> Tensor:
        """Return features (C, D) or (B, C, D) of C sentences."""
        sentences = sentences.to(self.device)
        total = len(sentences.lengths)
        images = prompts.context.shape[0] if prompts is not None and prompts.per == "image" else 1
        encode = self._encoder(sentences, prompts, updates, images)
        # An exported graph has one chunk, since its number of images is symbolic and cannot bound a loop.
        chunk = None if torch.compiler.is_compiling() else self._chunk(sentences)
        step = total if chunk is None else max(1, chunk // images)
        bounds = [(begin, min(begin + step, total)) for begin in range(0, total, step)]
        if len(bounds) > 1 and torch.is_grad_enabled():
            # The random state matters for the masks of dropout alone; to keep it makes an accelerator wait.
            keep = updates is not None and updates.dropout > 0
            parts = [checkpoint(encode, *bound, use_reentrant=False, preserve_rng_state=keep) for bound in bounds]
            features = torch.cat(parts, dim=1)
        else:
            features = torch.cat([encode(*bound) for bound in bounds], dim=1)
        if self._layout == "packed":
            features = features[:, sentences.ranks]
        return features if prompts is not None and prompts.per == "image" else features[0]

    def _chunk(self, sentences: Sentences) -> int | None:
        """Return the number of sentences per pass; it does not depend on what else is in memory, and so on the run."""
        if self.chunk_size != "auto":
            return self.chunk_size
        longest = len(sentences.start.tokens) + sentences.lengths[-1]
        sentence = KEPT_PER_PLACE * self._dtype.itemsize * self.depth * self.width * longest
        return max(1, _memory_for_sentences(self.device) // sentence)

    @property
    def _dtype(self) -> torch.dtype:
        return self.token_table.dtype

    def _filled(self, places: Places, prompts: TextPrompts | None) -> Tensor:
        """Return embeddings (..., L, d_t) of L places, with context vectors in their slots, without positions."""
        x = self.embed(places.tokens)
        if prompts is None or not places.filled:
            return x
        slots, context = places.slots.clamp(min=0), prompts.context.to(self._dtype)
        vectors = context[places.classes, slots] if prompts.per == "class" else context[..., slots, :]
        return torch.where((places.slots >= 0)[:, None], vectors, x)


@cache
def _memory_for_sentences(device: torch.device) -> int:
    """Return the bytes that the sentences of one pass may take on a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return total_memory() // 8
