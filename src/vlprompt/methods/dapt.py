"""DAPT: Distribution-Aware Prompt Tuning (Cho, Kim & Kim, ICCV 2023, arXiv 2309.03406)."""

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, ImageSet, LossTerms, Method, Options, Prediction, frozen_features
from vlprompt.methods.init import context_and_words
from vlprompt.prompts import TextPrompts, VisualPrompts


class DAPTOptions(Options):
    """Options of DAPT. `n_visual=0` is the paper's text-only variant, `n_text=0` its visual-only one."""

    n_text: int = Field(16, ge=0, description="Context vectors of the text tower; 0: the template instead.")
    ctx_init: str | None = Field(
        None, description="Words whose first n_text embeddings start the text context; None: N(0, 0.02^2), as released."
    )
    n_visual: int = Field(16, ge=0, description="Prompt tokens of the image tower; 0: the frozen tower.")
    beta_visual: float = Field(0.1, ge=0, description="Weight of intra-dispersion, the pull of images to prototypes.")
    beta_text: float = Field(0.1, ge=0, description="Weight of inter-dispersion, the push between class embeddings.")
    rbf_t: float = Field(2.0, gt=0, description="t of the Gaussian potential exp(-t d^2) between class embeddings.")


@METHODS.register("dapt")
class DAPT(Method[DAPTOptions]):
    """Shallow prompts in both towers, trained to spread the classes and to gather their images.

    The loss is cross-entropy + beta_text * inter-dispersion + beta_visual * intra-dispersion.
    Prototypes are the means of the shots' unit frozen features, not normalized again. The released code
    takes them from randomly augmented images in a separate pass; here they come from the images as evaluated, so that
    they are the same in every run.

    Parameters: `text_context` (n_text, d_t), `visual_context` (n_visual, d_v). Buffer: `prototypes` (C, D).
    """

    Options = DAPTOptions
    name = "dapt"
    prototypes: Tensor

    @property
    def visual_prompts(self) -> bool:
        """Whether there are prompt tokens in the image tower."""
        return self.options.n_visual > 0

    def build(self) -> None:
        """Create contexts, text from words or N(0, 0.02^2) and visual from VPT's range, and empty prototypes."""
        options, backbone = self.options, self.backbone
        if options.n_text == options.n_visual == 0:
            raise VLPromptError("dapt with n_text=0 and n_visual=0 learns nothing; give one of them a length")
        if options.n_text:
            self.text_context = nn.Parameter(context_and_words(backbone, options.n_text, options.ctx_init)[0])
        if options.n_visual:
            width, patch = backbone.vision.width, backbone.vision.patch_size
            assert width is not None and patch is not None
            bound = math.sqrt(6 / (3 * patch**2 + width))
            self.visual_context = nn.Parameter(torch.empty(options.n_visual, width).uniform_(-bound, bound))
        self.register_buffer("prototypes", torch.zeros(len(self.class_names), backbone.embed_dim))

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """Text context before the name; visual context behind the class token, after the first layer norm."""
        text = TextPrompts(self.text_context) if self.options.n_text else None
        if not self.options.n_visual:
            return text, None
        return text, VisualPrompts(self.visual_context, position="after_class", before_ln_pre=False)

    def prepare(self, train_set: ImageSet, val_set: ImageSet | None) -> None:
        """Set `prototypes` from the shots."""
        features, labels = frozen_features(self.backbone, train_set)
        sums = torch.zeros_like(self.prototypes).index_add_(0, labels, features)
        self.prototypes = sums / labels.bincount(minlength=len(sums)).clamp(min=1)[:, None]

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Cross-entropy, `intra_dispersion` of images and `inter_dispersion` of class embeddings."""
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        intra = F.mse_loss(prediction.image_features, self.prototypes[labels])
        inter = gaussian_potential(prediction.text_features, self.options.rbf_t)
        total = cross_entropy + self.options.beta_visual * intra + self.options.beta_text * inter
        return LossTerms(total=total, cross_entropy=cross_entropy, intra_dispersion=intra, inter_dispersion=inter)


def gaussian_potential(features: Tensor, t: float) -> Tensor:
    """Mean of exp(-t |u - v|^2) over the pairs of features (C, D); 0 where there is a single one."""
    if len(features) < 2:
        return features.new_zeros(())
    return torch.pdist(features).square().mul(-t).exp().mean()
