"""E2MIM: Generalizable Prompt Tuning for Vision-Language Models (2024, arXiv 2410.03189)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
from vlprompt.methods.init import initial_context
from vlprompt.methods.mutual_information import CRITICS, ESTIMATORS
from vlprompt.methods.options import ContextOptions
from vlprompt.methods.shots import LabeledImages, frozen_features
from vlprompt.methods.templates import IMAGENET_7
from vlprompt.prompts import Adapters, TextPrompts

IGNORED = -100  # label of what a cross-entropy leaves out


class E2MIMOptions(ContextOptions):
    """Options of E2MIM. A weight of 0 disables a term; with `lambda_mi=lambda_aug=r=0` the method is CoOp."""

    templates: list[str] = Field(
        list(IMAGENET_7),
        description="Hand-crafted prompts that are averaged with `template` into the second view.",
    )
    lambda_mi: float = Field(0.5, ge=0, description="Weight of the mutual information between the two text views.")
    lambda_aug: float = Field(0.5, ge=0, description="Weight of the class-wise augmentation.")
    estimator: Literal["infonce", "jsd", "dv"] = Field("infonce", description="Estimator of the mutual information.")
    critic: Literal["cosine", "bilinear", "mlp"] = Field("cosine", description="Network that scores a pair of views.")
    alpha: float = Field(1.0, gt=0, description="Concentration of the Dirichlet distribution that mixes shots.")
    gate_max: float = Field(0.5, ge=0, le=1, description="Maximum share of the virtual image in an explored text view.")
    r: float = Field(0.5, ge=0, le=1, description="Share of the hand-crafted view in the classifier at evaluation.")


@METHODS.register("e2mim")
class E2MIM(Method[E2MIMOptions]):
    """Learned and hand-crafted prompts as two views of a class, with high mutual information, and image augmentation.

    The paper's code and hyper-parameters are not public; this is our implementation of its ideas:

    1. A learned critic scores pairs of a soft view t_c and a hand-crafted view h_c; `mutual_information` is minus the
       estimate I(t; h).
    2. Each class of a batch gets a virtual image v_c, a random mixture of the frozen features of its other shots, and
       an explored text view e_c between t_c and v_c, as far as the critic's gate opens. `augmentation` is the
       cross-entropy of the batch joined by the virtual images, plus that of the batch under the explored views; the
       mutual information is then the mean of I(t; h) and I(e; h).
    3. At evaluation the classifier is (1 - r) t_c + r h_c, normalized, so that new classes need only their names.

    The loss is cross-entropy + lambda_mi * mutual_information + lambda_aug * augmentation.

    Parameters: `text_context` (n, d_t), and `critic.*` if a term uses it.
    """

    Options = E2MIMOptions
    shots: Tensor
    shot_labels: Tensor

    def build(self) -> None:
        """Create the context, the critic, and buffers for the shots, which `prepare` fills."""
        options, dim = self.options, self.backbone.embed_dim
        self.text_context = nn.Parameter(initial_context(self.backbone, options.n_ctx, options.ctx_init))
        if options.lambda_mi or (options.lambda_aug and options.gate_max):
            self.critic = CRITICS[options.critic](dim)
        # Not persistent: a tuned run does not need its training data.
        self.register_buffer("shots", torch.zeros(0, dim), persistent=False)
        self.register_buffer("shot_labels", torch.zeros(0, dtype=torch.int64), persistent=False)

    @property
    def whole_batch(self) -> bool:
        """Whether there are virtual images, which exclude the shots of the whole batch."""
        return self.options.lambda_aug > 0

    @property
    def templates(self) -> list[str]:
        """All hand-crafted prompts, whose ensemble is the second view."""
        return [*self.options.template_list, *self.options.templates]

    @property
    def encoded_templates(self) -> list[str]:
        """Hand-crafted prompts of the second view, if the loss or the classifier uses it."""
        return self.templates if self.options.lambda_mi or self.options.r else []

    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the context before the name; the image tower stays frozen."""
        return Adapters(text=TextPrompts(self.text_context))

    def encode_text(self, adapters: Adapters) -> Tensor:
        """Return the soft view (C, D); in eval mode, its ensemble with the hand-crafted view."""
        soft = super().encode_text(adapters)
        if self.training or not self.options.r:
            return soft
        return F.normalize((1 - self.options.r) * soft + self.options.r * self.template_features, dim=-1)

    def prepare(self, train_set: LabeledImages, val_set: LabeledImages | None) -> None:
        """Store the frozen features of all shots for the augmentation."""
        if self.options.lambda_aug:
            self.shots, self.shot_labels = frozen_features(self.backbone, train_set)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the cross-entropy, and `mutual_information` and `augmentation` unless their weight is 0."""
        options = self.options
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        terms = LossTerms(total=cross_entropy, cross_entropy=cross_entropy)
        views = [prediction.text_features]
        if options.lambda_aug:
            there, virtual = self.virtual_images(prediction, labels)
            views.append(self.explored_views(prediction.text_features, there, virtual))
            classes = torch.arange(len(there), device=there.device).where(there, IGNORED)
            images, targets = torch.cat([prediction.image_features, virtual]), torch.cat([labels, classes])
            with_virtual = self._cross_entropy(images, targets, views[0])
            terms["augmentation"] = with_virtual + self._cross_entropy(prediction.image_features, labels, views[1])
            terms["total"] = terms.total + options.lambda_aug * terms["augmentation"]
        if options.lambda_mi and len(self.class_names) > 1:
            estimate = ESTIMATORS[options.estimator]
            information = [estimate(self.critic(view, self.template_features)) for view in views]
            terms["mutual_information"] = -torch.stack(information).mean()
            terms["total"] = terms.total + options.lambda_mi * terms["mutual_information"]
        return terms

    def virtual_images(self, prediction: Prediction, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix, for each class of the batch, the shots that are not in the batch.

        An image must not help to classify itself. `index` in the prediction's extras identifies the shots in the
        batch; without it, the nearest shot of its class stands for an image.

        Returns:
            Whether a class has a virtual image (C,), and the virtual images, unit vectors (C, D), 0 where there is
            none: all classes, since shapes that depend on values would make a step wait for the device.
        """
        # A Dirichlet draw is a vector of Gamma draws over their sum, which normalization cancels. Gamma(a) is drawn as
        # the log of Gamma(a + 1) U^(1 / a), which does not underflow for small a.
        ones, alpha, place = self.shots.new_ones(len(self.shots)), self.options.alpha, self.shot_labels
        gamma = torch.distributions.Gamma((alpha + 1) * ones, ones, validate_args=False).sample()
        drawn = (gamma.log() + torch.rand_like(ones).log() / alpha).clamp(min=-1e30)
        drawn = drawn.masked_fill(~torch.isin(place, labels), -torch.inf)
        drawn = drawn.index_fill(0, self._in_batch(prediction, labels), -torch.inf)
        classes = len(self.class_names)
        largest = drawn.new_full((classes,), -torch.inf).scatter_reduce(0, place, drawn, "amax")
        there = largest.isfinite()
        weights = (drawn - largest[place]).exp().where(there[place], 0)
        mixed = self.shots.new_zeros(classes, self.shots.shape[1]).index_add(0, place, weights[:, None] * self.shots)
        return there, F.normalize(mixed, dim=-1)

    def explored_views(self, text: Tensor, there: Tensor, virtual: Tensor) -> Tensor:
        """Return text views (C, D), moved toward the virtual images (C, D) as far as their gates open.

        A gate opens by how much higher the critic scores the virtual image with its own class than on average. A class
        without an image (`there` (C,) is false) keeps its text.
        """
        if not self.options.gate_max:
            return text
        scores = self.critic(text, virtual)  # (C, C), a column for each image
        gate = self.options.gate_max * (scores.diagonal() - scores.mean(0)).sigmoid()[:, None]
        return F.normalize((1 - gate) * text + gate * virtual, dim=-1).where(there[:, None], text)

    def _in_batch(self, prediction: Prediction, labels: Tensor) -> Tensor:
        """Return the positions (B,) of the batch's images among the shots."""
        if not len(self.shots):
            return labels[:0]
        if "index" in prediction.extras:
            return prediction.extras["index"]
        cosine = prediction.image_features @ self.shots.T  # (B, N)
        return cosine.masked_fill(labels[:, None] != self.shot_labels, -torch.inf).argmax(1)

    def _cross_entropy(self, images: Tensor, labels: Tensor, text: Tensor) -> Tensor:
        return F.cross_entropy(self.classify(images, text).logits, labels, ignore_index=IGNORED)
