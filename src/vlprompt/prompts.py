"""Prompts and low-rank updates as data: what a method returns and a tower runs with."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from vlprompt.errors import VLPromptError


@dataclass(frozen=True)
class TextPrompts:
    """Learned vectors of the text tower, in the sentence `[SOS] context frozen_words name . [EOT]`.

    Attributes:
        context: tensor with shape (n, d_t), (C, n, d_t) or (B, n, d_t), as `per` says; d_t is the tower's width.
        per: one context for all classes ("shared"), for each class ("class"), or for each image ("image").
        deep: tensor with shape (J - 1, n, d_t) that replaces the n context positions at layers 1..J-1.
        position: where the context stands: before the name ("end": the name comes at the end), half before and
            half behind it ("middle"), or behind it ("front").
        frozen_words: words between context and name that are not learned; with position "end" only.
    """

    context: Tensor
    per: Literal["shared", "class", "image"] = "shared"
    deep: Tensor | None = None
    position: Literal["end", "middle", "front"] = "end"
    frozen_words: str = ""

    def __post_init__(self) -> None:
        expected = 2 if self.per == "shared" else 3
        if self.context.ndim != expected:
            raise VLPromptError(
                f"text context per {self.per} needs {expected} dimensions, got {tuple(self.context.shape)}"
            )
        if self.deep is not None and self.deep.shape[1:] != self.context.shape[-2:]:
            raise VLPromptError(
                f"deep text prompts {tuple(self.deep.shape)} do not match context {tuple(self.context.shape)}"
            )
        if self.frozen_words and self.position != "end":
            raise VLPromptError(f"frozen_words go with position='end', not {self.position!r}")

    @property
    def length(self) -> int:
        """n, the number of context vectors."""
        return self.context.shape[-2]


@dataclass(frozen=True)
class VisualPrompts:
    """Learned tokens of the image tower.

    Attributes:
        context: tensor with shape (n, d_v), the prompt tokens of the first layer; d_v is the tower's width.
        deep: tensor with shape (J - 1, n, d_v) that replaces the n prompt tokens at layers 1..J-1.
        position: behind the patch tokens ("append") or between class token and patch tokens ("after_class").
        before_ln_pre: whether the tokens pass the layer norm in front of the first block.
    """

    context: Tensor
    deep: Tensor | None = None
    position: Literal["append", "after_class"] = "append"
    before_ln_pre: bool = True

    def __post_init__(self) -> None:
        if self.context.ndim != 2:
            raise VLPromptError(f"visual context needs 2 dimensions, got {tuple(self.context.shape)}")
        if self.deep is not None and self.deep.shape[1:] != self.context.shape:
            raise VLPromptError(
                f"deep visual prompts {tuple(self.deep.shape)} do not match context {tuple(self.context.shape)}"
            )


@dataclass(frozen=True)
class LowRankUpdates:
    """Learned additions to the query, key and value projections of a tower, at every layer.

    A projection x W^T becomes x W^T + scale * dropout(x) A^T B^T.

    Attributes:
        down: A, tensor with shape (layers, 3, r, d): query, key and value of every layer; d is the tower's width.
        up: B, tensor with shape (layers, 3, d, r).
        scale: factor of the addition.
        dropout: share of x that the addition does not see; 0 outside of training.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.down.ndim != 4 or self.down.shape[1] != 3 or self.up.shape != self.down.transpose(-1, -2).shape:
            raise VLPromptError(
                f"low-rank updates need shapes (layers, 3, r, d) and (layers, 3, d, r), got {tuple(self.down.shape)} "
                f"and {tuple(self.up.shape)}"
            )

    def check(self, depth: int, width: int) -> None:
        """VLPromptError where they were made for a tower of another depth or width."""
        if (self.down.shape[0], self.down.shape[3]) != (depth, width):
            raise VLPromptError(
                f"low-rank updates {tuple(self.down.shape)} do not fit a tower of {depth} layers and width {width}"
            )


@dataclass(frozen=True)
class Adapters:
    """What a method learned for the two towers; None leaves that part frozen.

    Attributes:
        text: prompts of the text tower.
        visual: prompts of the image tower.
        text_updates: low-rank updates of the text tower's weights.
        visual_updates: low-rank updates of the image tower's weights.
    """

    text: TextPrompts | None = None
    visual: VisualPrompts | None = None
    text_updates: LowRankUpdates | None = None
    visual_updates: LowRankUpdates | None = None
