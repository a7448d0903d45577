"""Prompts and low-rank updates as plain data, and `Adapters`, which groups them for both towers."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from vlprompt.errors import VLPromptError


@dataclass(frozen=True)
class TextPrompts:
    """Learned context vectors for the text tower, in the sentence `[SOS] context frozen_words name . [EOT]`.

    Attributes:
        context: tensor with shape (n, d_t), (C, n, d_t) or (B, n, d_t), depending on `per`; d_t is the tower's width.
        per: "shared" for one context for all classes, "class" for one per class, "image" for one per image.
        deep: tensor with shape (J - 1, n, d_t) that replaces the n context positions at layers 1..J-1; None for
            prompts at the first layer only.
        position: position of the class name: after the context ("end"), after its first n // 2 vectors ("middle"),
            or before it ("front").
        frozen_words: fixed words between context and name; only with position "end".

    Raises:
        VLPromptError: the shapes do not match each other or `per`, or `frozen_words` has the wrong `position`.

    Examples:
        >>> import torch
        >>> TextPrompts(torch.zeros(4, 512), deep=torch.zeros(8, 4, 512)).length
        4
    """

    context: Tensor
    per: Literal["shared", "class", "image"] = "shared"
    deep: Tensor | None = None
    position: Literal["end", "middle", "front"] = "end"
    frozen_words: str = ""

    def __post_init__(self) -> None:
        shape = {"shared": "(n, d_t)", "class": "(C, n, d_t)", "image": "(B, n, d_t)"}[self.per]
        if self.context.ndim != (2 if self.per == "shared" else 3):
            raise VLPromptError(
                f"`context` of text prompts must have shape {shape} for per={self.per!r}, "
                f"got {tuple(self.context.shape)}"
            )
        if self.deep is not None and self.deep.shape[1:] != self.context.shape[-2:]:
            raise VLPromptError(
                f"`deep` of text prompts must have shape (J - 1, n, d_t) for a context of shape "
                f"{tuple(self.context.shape)}, got {tuple(self.deep.shape)}"
            )
        if self.frozen_words and self.position != "end":
            raise VLPromptError(f"`position` must be 'end' with `frozen_words`, got {self.position!r}")

    @property
    def length(self) -> int:
        """Number of context vectors, n."""
        return self.context.shape[-2]


@dataclass(frozen=True)
class VisualPrompts:
    """Learned prompt tokens for the image tower.

    Attributes:
        context: tensor with shape (n, d_v), the prompt tokens of the first layer; d_v is the tower's width.
        deep: tensor with shape (J - 1, n, d_v) that replaces the n prompt tokens at layers 1..J-1; None for prompts at
            the first layer only.
        position: after the patch tokens ("append") or between class token and patch tokens ("after_class").
        before_ln_pre: whether to insert the prompts before the layer norm that precedes the first block.

    Raises:
        VLPromptError: the shapes do not match each other.

    Examples:
        >>> import torch
        >>> VisualPrompts(torch.zeros(8, 768), position="after_class").length
        8
    """

    context: Tensor
    deep: Tensor | None = None
    position: Literal["append", "after_class"] = "append"
    before_ln_pre: bool = True

    def __post_init__(self) -> None:
        if self.context.ndim != 2:
            raise VLPromptError(
                f"`context` of visual prompts must have shape (n, d_v), got {tuple(self.context.shape)}"
            )
        if self.deep is not None and self.deep.shape[1:] != self.context.shape:
            raise VLPromptError(
                f"`deep` of visual prompts must have shape (J - 1, n, d_v) for a context of shape "
                f"{tuple(self.context.shape)}, got {tuple(self.deep.shape)}"
            )

    @property
    def length(self) -> int:
        """Number of prompt tokens, n."""
        return self.context.shape[0]


@dataclass(frozen=True)
class LowRankUpdates:
    """Learned low-rank updates of the query, key and value projections at every layer of a tower.

    A projection x W^T becomes x W^T + scale * dropout(x) A^T B^T.

    Attributes:
        down: A, tensor with shape (layers, 3, r, d) for query, key and value of every layer; d is the tower's width.
        up: B, tensor with shape (layers, 3, d, r).
        scale: factor of the update.
        dropout: probability of zeroing an entry of x in the update; methods set it to 0 outside training.

    Raises:
        VLPromptError: the shapes do not match each other.

    Examples:
        >>> import torch
        >>> updates = LowRankUpdates(torch.zeros(12, 3, 2, 512), torch.zeros(12, 3, 512, 2), scale=0.5)
        >>> updates.check(depth=12, width=512)
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.down.ndim != 4 or self.down.shape[1] != 3 or self.up.shape != self.down.transpose(-1, -2).shape:
            raise VLPromptError(
                "`down` and `up` of low-rank updates must have shapes (layers, 3, r, d) and (layers, 3, d, r), "
                f"got {tuple(self.down.shape)} and {tuple(self.up.shape)}"
            )

    def check(self, depth: int, width: int) -> None:
        """Raise VLPromptError if the updates do not match a tower of this depth and width."""
        if (self.down.shape[0], self.down.shape[3]) != (depth, width):
            raise VLPromptError(
                f"`down` of low-rank updates must have shape ({depth}, 3, r, {width}) for this tower, "
                f"got {tuple(self.down.shape)}"
            )


@dataclass(frozen=True)
class Adapters:
    """Prompts and updates that a method adds to the frozen towers. `Adapters()` adds nothing.

    Attributes:
        text: prompts for the text tower; None for a hand-crafted template.
        visual: prompts for the image tower, or None.
        text_updates: low-rank updates of the text tower, or None.
        visual_updates: low-rank updates of the image tower, or None.

    Examples:
        >>> import torch
        >>> adapters = Adapters(text=TextPrompts(torch.zeros(4, 512)), visual=VisualPrompts(torch.zeros(4, 768)))
        >>> adapters.text_updates is None
        True
    """

    text: TextPrompts | None = None
    visual: VisualPrompts | None = None
    text_updates: LowRankUpdates | None = None
    visual_updates: LowRankUpdates | None = None
