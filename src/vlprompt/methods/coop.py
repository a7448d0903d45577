"""CoOp: Context Optimization (Zhou et al., IJCV 2022, arXiv 2109.01134)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.init import initial_context, random_prompts
from vlprompt.methods.options import Options
from vlprompt.prompts import Adapters, TextPrompts


class CoOpOptions(Options):
    """Options of CoOp, with the defaults of its few-shot recipe."""

    n_ctx: int = Field(16, ge=1, description="Number of context vectors, n. With `ctx_init`, its number of tokens.")
    ctx_init: str | None = Field(None, description="Words whose embeddings initialize the context. None: N(0, 0.02^2).")
    class_specific: bool = Field(False, description="Whether to learn one context per class instead of a shared one.")
    class_token_position: Literal["end", "middle", "front"] = Field(
        "end", description="Position of the class name in the sentence."
    )


@METHODS.register("coop")
class CoOp(Method[CoOpOptions]):
    """Learned context vectors before, around or after the class name; the loss is the cross-entropy.

    Parameters: `text_context` (n, d_t), or (C, n, d_t) with `class_specific`.
    """

    Options = CoOpOptions

    @property
    def class_bound(self) -> bool:
        """Whether there is one context per class."""
        return self.options.class_specific

    def build(self) -> None:
        """Create the context."""
        context = initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init)
        if self.options.class_specific:
            # Random contexts differ between classes; contexts from words are equal.
            shape = (len(self.class_names), *context.shape)
            context = context.expand(shape).clone() if self.options.ctx_init else random_prompts(*shape)
        self.text_context = nn.Parameter(context)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the context, shared or per class; the image tower stays frozen."""
        per: Literal["class", "shared"] = "class" if self.options.class_specific else "shared"
        return Adapters(text=TextPrompts(self.text_context, per, position=self.options.class_token_position))
