"""PromptSRC: Self-regulating Prompts (Khattak et al., ICCV 2023, arXiv 2307.06948)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, LossTerms, Prediction
from vlprompt.methods.ivlp import IndependentPrompts, IVLPOptions
from vlprompt.prompts import TextPrompts, VisualPrompts

# Those of CLIP's ImageNet ensemble that the released code uses.
TEMPLATES = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
)


class PromptSRCOptions(IVLPOptions):
    """Options of PromptSRC, with the defaults of its base-to-new recipe."""

    n_text: int = Field(4, ge=1, description="Context vectors of the text tower.")
    n_visual: int = Field(4, ge=1, description="Prompt tokens of the image tower.")
    text_loss_weight: float = Field(25.0, ge=0, description="Weight of the distance to frozen text features.")
    image_loss_weight: float = Field(10.0, ge=0, description="Weight of the distance to frozen image features.")
    gpa_mean: float = Field(15.0, description="Epoch, counted from 1, whose prompts weigh most in the average.")
    gpa_std: float = Field(1.0, gt=0, description="Standard deviation of that weight, in epochs.")
    gpa_epochs: int | None = Field(None, ge=1, description="E, epochs that are averaged; None: those of the run.")
    templates: list[str] = Field(
        list(TEMPLATES),
        min_length=1,
        description="Hand-crafted prompts with {} whose frozen features the text keeps to.",
    )


@METHODS.register("promptsrc")
class PromptSRC(IndependentPrompts[PromptSRCOptions]):
    """Independent prompts in both towers, held to what the frozen towers say.

    The loss is cross-entropy + text_loss_weight * L1(text features, frozen ones of many templates) +
    image_loss_weight * L1(image features, frozen ones) + KL(logits, frozen logits). Evaluation uses the average of the
    prompts over epochs with Gaussian weights. It is kept as a running one, so that the prompts of an unfinished run
    are the average of the epochs it had.

    Parameters: as in `IndependentPrompts`. Buffers: `{parameter}_average`, and `epochs_averaged`.
    """

    Options = PromptSRCOptions
    name = "promptsrc"
    usual_depth = 9
    epochs_averaged: Tensor

    @property
    def read_templates(self) -> list[str]:
        """Those whose frozen features the text keeps to."""
        return self.options.templates

    def build(self) -> None:
        """Create the prompts and their averages."""
        super().build()
        for name, parameter in list(self.named_parameters()):
            self.register_buffer(f"{name}_average", parameter.detach().clone())
        self.register_buffer("epochs_averaged", torch.tensor(0))
        self._epochs = self.options.gpa_epochs

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """Prompts of both towers; in evaluation, once an epoch has passed, their averages."""
        text, visual = super().prompts()
        if self.training or not self.epochs_averaged:
            return text, visual
        averages = dict(self.named_buffers())
        assert text is not None and visual is not None
        return (
            replace(text, context=averages["text_context_average"], deep=averages.get("text_deep_average")),
            replace(visual, context=averages["visual_context_average"], deep=averages.get("visual_deep_average")),
        )

    def forward(self, images: Tensor, text_features: Tensor | None = None) -> Prediction:
        """Classify a batch; where a loss may follow, `extras` holds what the frozen towers say of it."""
        prediction = super().forward(images, text_features)
        if self.training or torch.is_grad_enabled():
            prediction.extras |= self._frozen(images)
        return prediction

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Cross-entropy, `text` and `image` distances to frozen features, `logits` divergence from frozen ones.

        `text` and `image` are given with their weights, as the released code adds them up. VLPromptError where the
        prediction is one of an evaluation, for which the frozen towers were not asked.
        """
        options, extras = self.options, prediction.extras
        if "frozen_logits" not in extras:
            raise VLPromptError(
                "a prediction in eval mode under torch.no_grad() has no frozen features for the loss of 'promptsrc'; "
                "predict in train mode or with gradients on"
            )
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        text = options.text_loss_weight * F.l1_loss(prediction.text_features, extras["frozen_text_features"])
        image = options.image_loss_weight * F.l1_loss(prediction.image_features, extras["frozen_image_features"])
        own, frozen = prediction.logits.log_softmax(-1), extras["frozen_logits"].log_softmax(-1)
        # As released, the sum is divided by all B * C entries, not by the B images.
        logits = F.kl_div(own, frozen, log_target=True, reduction="sum") / own.numel()
        total = cross_entropy + text + image + logits
        return LossTerms(total=total, cross_entropy=cross_entropy, text=text, image=image, logits=logits)

    def set_epochs(self, epochs: int) -> None:
        """Take over the number of epochs. VLPromptError where `gpa_epochs` says otherwise."""
        if self.options.gpa_epochs not in (None, epochs):
            raise VLPromptError(
                f"method.gpa_epochs={self.options.gpa_epochs} and optim.epochs={epochs} differ; leave gpa_epochs out"
            )
        self._epochs = epochs

    @torch.no_grad()
    def on_epoch_end(self, epoch: int) -> None:
        """Move the averages to the prompts by this epoch's share of the weight of all epochs so far."""
        share = self._log_weights(epoch).softmax(0)[-1].item()
        for name, parameter in self.named_parameters():
            self.get_buffer(f"{name}_average").lerp_(parameter, share)
        self.epochs_averaged.fill_(epoch)

    @property
    def gpa_weights(self) -> Tensor:
        """Weight of every epoch in the average of all, tensor with shape (E,) and sum 1."""
        if self._epochs is None:
            raise VLPromptError("the number of epochs is not known before training; give gpa_epochs")
        return self._log_weights(self._epochs).softmax(0).float()

    def _log_weights(self, epochs: int) -> Tensor:
        """Logarithms of the weights of epochs 1 .. `epochs`, up to a constant; they cannot underflow."""
        passed = torch.arange(1, epochs + 1, dtype=torch.float64)
        return -((passed - self.options.gpa_mean) ** 2) / (2 * self.options.gpa_std**2)

    def _set_names(self, names: Sequence[str]) -> None:
        super()._set_names(names)
        self._frozen_text_features: Tensor | None = None

    @torch.no_grad()
    def _frozen(self, images: Tensor) -> dict[str, Tensor]:
        if self._frozen_text_features is None:
            sentences = ([template.format(name) for name in self.class_names] for template in self.options.templates)
            features = [self.backbone.encode_text(self.backbone.tokenize(batch)) for batch in sentences]
            # Unlike an ensemble of unit features, the average is over features as long as they are.
            self._frozen_text_features = F.normalize(torch.stack(features).mean(0), dim=-1)
        image_features = self._image_features(images, None)
        prediction = self.classify(image_features, self._frozen_text_features)
        return {
            "frozen_logits": prediction.logits,
            "frozen_image_features": image_features,
            "frozen_text_features": self._frozen_text_features,
        }
