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
from vlprompt.methods.templates import IMAGENET_60
from vlprompt.prompts import Adapters


class PromptSRCOptions(IVLPOptions):
    """Options of PromptSRC, with the defaults of its base-to-new recipe."""

    n_text: int = Field(4, ge=1, description="Number of context vectors in the text tower.")
    n_visual: int = Field(4, ge=1, description="Number of prompt tokens in the image tower.")
    text_loss_weight: float = Field(25.0, ge=0, description="Weight of the distance to frozen text features.")
    image_loss_weight: float = Field(10.0, ge=0, description="Weight of the distance to frozen image features.")
    gpa_mean: float = Field(
        15.0, description="Epoch, counted from 1, whose prompts have the largest weight in the average."
    )
    gpa_std: float = Field(1.0, gt=0, description="Standard deviation of the Gaussian weights, in epochs.")
    gpa_epochs: int | None = Field(None, ge=1, description="Number of averaged epochs, E. None: all training epochs.")
    templates: list[str] = Field(
        list(IMAGENET_60),
        min_length=1,
        description="Hand-crafted prompts with {} whose frozen features regularize the text features.",
    )


@METHODS.register("promptsrc")
class PromptSRC(IndependentPrompts[PromptSRCOptions]):
    """Independent prompts in both towers, regularized by the features of the frozen towers.

    The loss is cross-entropy + text_loss_weight * L1(text features, frozen ones of many templates) +
    image_loss_weight * L1(image features, frozen ones) + KL(logits, frozen logits). Evaluation uses the average of the
    prompts over epochs, with Gaussian weights. It is a running average, so an unfinished run evaluates the average
    of its epochs so far.

    Parameters: as in `IndependentPrompts`. Buffers: `{parameter}_average`, and `epochs_averaged`.
    """

    Options = PromptSRCOptions
    usual_depth = 9
    epochs_averaged: Tensor

    @property
    def encoded_templates(self) -> list[str]:
        """Always the option `templates`, whose frozen features are used in the loss."""
        return self.options.templates

    def build(self) -> None:
        """Create the prompts and their averages."""
        super().build()
        for name, parameter in list(self.named_parameters()):
            self.register_buffer(f"{name}_average", parameter.detach().clone())
        self.register_buffer("epochs_averaged", torch.tensor(0))
        self._frozen_text_features: Tensor | None = None

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the prompts of both towers; in eval mode after the first epoch, their averages."""
        prompts = super().adapters()
        if self.training or not self.epochs_averaged:
            return prompts
        averages = dict(self.named_buffers())
        text, visual = prompts.text, prompts.visual
        assert text is not None and visual is not None
        return Adapters(
            replace(text, context=averages["text_context_average"], deep=averages.get("text_deep_average")),
            replace(visual, context=averages["visual_context_average"], deep=averages.get("visual_deep_average")),
        )

    def forward(self, images: Tensor, text_features: Tensor | None = None) -> Prediction:
        """Classify a batch; in training, or with gradients on, `extras` has the frozen towers' features and logits."""
        prediction = super().forward(images, text_features)
        if self.training or torch.is_grad_enabled():
            prediction.extras |= self._frozen(images)
        return prediction

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the cross-entropy, `text` and `image` distances to frozen features, and the `logits` divergence.

        `text` and `image` include their weights, as in the released code.

        Raises:
            VLPromptError: the prediction was made in eval mode without gradients, so it has no frozen features.
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
        """Raise VLPromptError if the option `gpa_epochs` differs from the number of epochs."""
        if self.options.gpa_epochs not in (None, epochs):
            raise VLPromptError(
                f"method.gpa_epochs must equal optim.epochs={epochs}, got {self.options.gpa_epochs}; leave it out"
            )

    @torch.no_grad()
    def on_epoch_end(self, epoch: int) -> None:
        """Update the averages with the prompts, by the epoch's share of the weights of all epochs so far."""
        passed = torch.arange(1, epoch + 1, dtype=torch.float64)
        log_weights = -((passed - self.options.gpa_mean) ** 2) / (2 * self.options.gpa_std**2)  # cannot underflow
        share = log_weights.softmax(0)[-1].item()
        for name, parameter in self.named_parameters():
            self.get_buffer(f"{name}_average").lerp_(parameter, share)
        self.epochs_averaged.fill_(epoch)

    def set_class_names(self, names: Sequence[str]) -> None:
        """Replace the class names and keep the learned prompts; frozen text features are encoded at the next loss."""
        super().set_class_names(names)
        self._frozen_text_features = None

    @torch.no_grad()
    def _frozen(self, images: Tensor) -> dict[str, Tensor]:
        if self._frozen_text_features is None:
            sentences = ([template.format(name) for name in self.class_names] for template in self.options.templates)
            features = [self.backbone.encode_text(self.backbone.tokenize(batch)) for batch in sentences]
            # Unlike an ensemble of unit features, the average is over features before normalization.
            self._frozen_text_features = F.normalize(torch.stack(features).mean(0), dim=-1)
        image_features = self.encode_images(images, Adapters())
        prediction = self.classify(image_features, self._frozen_text_features)
        return {
            "frozen_logits": prediction.logits,
            "frozen_image_features": image_features,
            "frozen_text_features": self._frozen_text_features,
        }
