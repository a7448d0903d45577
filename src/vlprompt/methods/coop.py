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

    n_ctx: int = Field(
        16, ge=1, description="Context vectors, n. Words in `ctx_init` set it to their own number of tokens."
    )
    ctx_init: str | None = Field(None, description="Words whose embeddings start the context. None: N(0, 0.02^2).")
    class_specific: bool = Field(False, description="A context for each class instead of one for all.")
    class_token_position: Literal["end", "middle", "front"] = Field(
        "end", description="Position of the class name in the sentence."
    )


@METHODS.register("coop")
class CoOp(Method[CoOpOptions]):
    """Learned context vectors in front of, around or behind the class name; the loss is the cross-entropy.

    Parameters: `text_context` (n, d_t), or (C, n, d_t) with `class_specific`.
    """

    Options = CoOpOptions

    @property
    def class_bound(self) -> bool:
        """Whether there is a context for each class."""
        return self.options.class_specific

    def build(self) -> None:
        """Create the context."""
        context = initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init)
        if self.options.class_specific:
            # Random contexts differ from class to class, those from words are equal.
            shape = (len(self.class_names), *context.shape)
            context = context.expand(shape).clone() if self.options.ctx_init else random_prompts(*shape)
        self.text_context = nn.Parameter(context)

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the context, shared or per class; the image tower stays frozen."""
        per: Literal["class", "shared"] = "class" if self.options.class_specific else "shared"
        return Adapters(text=TextPrompts(self.text_context, per, position=self.options.class_token_position))
