"""CoOp: Context Optimization (Zhou et al., IJCV 2022, arXiv 2109.01134)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, Method, Options
from vlprompt.methods.init import initial_context, random_prompts
from vlprompt.prompts import TextPrompts, VisualPrompts


class CoOpOptions(Options):
    """Options of CoOp, with the defaults of its few-shot recipe."""

    n_ctx: int = Field(16, ge=1, description="n, context vectors. `ctx_init` sets it to its own number of tokens.")
    ctx_init: str | None = Field(None, description="Words whose embeddings start the context; None: N(0, 0.02^2).")
    class_specific: bool = Field(False, description="A context for each class instead of one for all.")
    class_token_position: Literal["end", "middle", "front"] = Field(
        "end", description="Where the class name stands relative to the context."
    )


@METHODS.register("coop")
class CoOp(Method[CoOpOptions]):
    """Learned context vectors in front of, around or behind the class name; loss is cross-entropy.

    Parameters: `text_context` (n, d_t), or (C, n, d_t) with `class_specific`.
    """

    Options = CoOpOptions
    name = "coop"

    @property
    def class_bound(self) -> bool:
        """A class-specific context belongs to the classes it was learned for."""
        return self.options.class_specific

    def build(self) -> None:
        """Create the context."""
        context = initial_context(self.backbone, self.options.n_ctx, self.options.ctx_init)
        if self.options.class_specific:
            # Random contexts differ from class to class; words are the same for all.
            shape = (len(self.class_names), *context.shape)
            context = context.expand(shape).clone() if self.options.ctx_init else random_prompts(*shape)
        self.text_context = nn.Parameter(context)

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """The context, shared or per class; the image tower stays frozen."""
        per: Literal["class", "shared"] = "class" if self.options.class_specific else "shared"
        return TextPrompts(self.text_context, per, position=self.options.class_token_position), None
