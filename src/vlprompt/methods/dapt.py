"""DAPT: Distribution-Aware Prompt Tuning (Cho, Kim & Kim, ICCV 2023, arXiv 2309.03406)."""

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
from vlprompt.methods.init import context_and_words
from vlprompt.methods.options import Options
from vlprompt.methods.shots import LabeledImages, frozen_features
from vlprompt.prompts import Adapters, TextPrompts, VisualPrompts


class DAPTOptions(Options):
    """Options of DAPT. `n_visual=0` is the paper's text-only variant, `n_text=0` its visual-only one.

    Without prompts in the image tower nothing pulls images to their prototypes: intra-dispersion is a constant then.
    """

    n_text: int = Field(16, ge=0, description="Number of context vectors in the text tower. 0: use the template.")
    ctx_init: str | None = Field(
        None,
        description="Words whose first n_text embeddings initialize the text context. None: N(0, 0.02^2), as in the "
        "released code.",
    )
    n_visual: int = Field(16, ge=0, description="Number of prompt tokens in the image tower. 0: keep it frozen.")
    beta_visual: float = Field(0.1, ge=0, description="Weight of intra-dispersion, which pulls images to prototypes.")
    beta_text: float = Field(0.1, ge=0, description="Weight of inter-dispersion, which pushes text features apart.")
    rbf_t: float = Field(2.0, gt=0, description="Scale t of the Gaussian potential exp(-t d^2) between text features.")


@METHODS.register("dapt")
class DAPT(Method[DAPTOptions]):
    """Shallow prompts in both towers, trained to push classes apart and to pull images toward their class.

    The loss is cross-entropy + beta_text * inter-dispersion + beta_visual * intra-dispersion.
    Prototypes are the means of the shots' unit frozen features, not normalized again. The released code computes them
    from randomly augmented images in a separate pass; here they use the test transform, so
    they are the same in every run.
    With `n_visual=0` the image features are frozen, so intra-dispersion is a constant without a gradient: it is still
    reported, and `beta_visual` has no effect on what is learned.

    Parameters: `text_context` (n_text, d_t), `visual_context` (n_visual, d_v). Buffer: `prototypes` (C, D).
    """

    Options = DAPTOptions
    text_alone = (
        "method.n_visual=0 (text prompts alone; intra-dispersion, the pull to prototypes, then has nothing to learn)"
    )
    prototypes: Tensor

    @property
    def adapts_images(self) -> bool:
        """Whether there are prompt tokens in the image tower."""
        return self.options.n_visual > 0

    def build(self) -> None:
        """Create text context from words or N(0, 0.02^2), visual context from VPT's range, and empty prototypes."""
        options, backbone = self.options, self.backbone
        if options.n_text == options.n_visual == 0:
            raise VLPromptError(
                "method 'dapt' learns nothing with n_text=0 and n_visual=0; set one of them to 1 or more"
            )
        if options.n_text:
            self.text_context = nn.Parameter(context_and_words(backbone, options.n_text, options.ctx_init)[0])
        if options.n_visual:
            width, patch = backbone.vision.width, backbone.vision.patch_size
            assert width is not None and patch is not None
            bound = math.sqrt(6 / (3 * patch**2 + width))
            self.visual_context = nn.Parameter(torch.empty(options.n_visual, width).uniform_(-bound, bound))
        self.register_buffer("prototypes", torch.zeros(len(self.class_names), backbone.embed_dim))

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return text context before the name, and visual context after the class token, inserted after `ln_pre`."""
        text = TextPrompts(self.text_context) if self.options.n_text else None
        if not self.options.n_visual:
            return Adapters(text=text)
        return Adapters(text, VisualPrompts(self.visual_context, position="after_class", before_ln_pre=False))

    def prepare(self, train_set: LabeledImages, val_set: LabeledImages | None) -> None:
        """Compute `prototypes` from the shots."""
        features, labels = frozen_features(self.backbone, train_set)
        sums = torch.zeros_like(self.prototypes).index_add_(0, labels, features)
        self.prototypes = sums / labels.bincount(minlength=len(sums)).clamp(min=1)[:, None]

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the cross-entropy, `intra_dispersion` of images and `inter_dispersion` of text features."""
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        intra = F.mse_loss(prediction.image_features, self.prototypes[labels])
        inter = gaussian_potential(prediction.text_features, self.options.rbf_t)
        total = cross_entropy + self.options.beta_visual * intra + self.options.beta_text * inter
        return LossTerms(total=total, cross_entropy=cross_entropy, intra_dispersion=intra, inter_dispersion=inter)


def gaussian_potential(features: Tensor, t: float) -> Tensor:
    """Return the mean of exp(-t |u - v|^2) over all pairs of features (C, D); 0 for a single one."""
    if len(features) < 2:
        return features.new_zeros(())
    return torch.pdist(features).square().mul(-t).exp().mean()
