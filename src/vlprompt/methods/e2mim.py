"""E2MIM: Generalizable Prompt Tuning for Vision-Language Models (2024, arXiv 2410.03189)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vlprompt.methods.base import METHODS, ImageSet, LossTerms, Method, Prediction, frozen_features
from vlprompt.methods.cocoop import CoCoOpOptions
from vlprompt.methods.init import initial_context
from vlprompt.methods.mutual_information import CRITICS, ESTIMATORS
from vlprompt.prompts import TextPrompts, VisualPrompts

# The seven that CLIP's authors found to suffice on ImageNet; the dataset's own template joins them.
TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


class E2MIMOptions(CoCoOpOptions):
    """Options of E2MIM. A weight of 0 switches a part off; with `lambda_mi=lambda_aug=r=0` it is CoOp."""

    templates: list[str] = Field(
        list(TEMPLATES),
        description="Hand-crafted prompts beside `template`; all of them are averaged to the second view.",
    )
    lambda_mi: float = Field(0.5, ge=0, description="Weight of the mutual information between the two text views.")
    lambda_aug: float = Field(0.5, ge=0, description="Weight of the class-wise augmentation.")
    estimator: Literal["infonce", "jsd", "dv"] = Field("infonce", description="How the information is estimated.")
    critic: Literal["cosine", "bilinear", "mlp"] = Field("cosine", description="What scores a pair of views.")
    alpha: float = Field(1.0, gt=0, description="Of Dirichlet(alpha), which mixes shots; small: nearly one of them.")
    gate_max: float = Field(0.5, ge=0, le=1, description="Largest share of the images in an explored text view.")
    r: float = Field(0.5, ge=0, le=1, description="Share of the hand-crafted view in the classifier that is evaluated.")


@METHODS.register("e2mim")
class E2MIM(Method[E2MIMOptions]):
    """Learned and hand-crafted prompts as two views of a class, kept informative of one another and widened by images.

    Neither code nor hyper-parameters of the paper are public. This is our instantiation of what it describes:

    1. A learned critic scores pairs of a soft view t_c and a hand-crafted view h_c; `mutual_information` is minus the
       estimate I(t; h).
    2. Each class of a batch gets a virtual image v_c, a random mixture of its other shots' frozen features, and
       an explored text view e_c between t_c and v_c, as far as the critic's gate opens. `augmentation` is the
       cross-entropy of the batch with the virtual images, plus that of the batch under the explored views; the mutual
       information is then the mean of I(t; h) and I(e; h).
    3. In evaluation the classifier is (1 - r) t_c + r h_c, normalized, so that new classes need only their names.

    The loss is cross-entropy + lambda_mi * mutual_information + lambda_aug * augmentation.

    Parameters: `text_context` (n, d_t), `critic.*` where something uses it.
    """

    Options = E2MIMOptions
    name = "e2mim"
    shots: Tensor
    shot_labels: Tensor

    def build(self) -> None:
        """Create the context and the critic; shots are stored by `prepare`."""
        options, dim = self.options, self.backbone.embed_dim
        self.text_context = nn.Parameter(initial_context(self.backbone, options.n_ctx, options.ctx_init))
        if options.lambda_mi or (options.lambda_aug and options.gate_max):
            self.critic = CRITICS[options.critic](dim)
        # Training data, which an evaluated run does not need: they stay out of its prompts.
        self.register_buffer("shots", torch.zeros(0, dim), persistent=False)
        self.register_buffer("shot_labels", torch.zeros(0, dtype=torch.int64), persistent=False)

    @property
    def whole_batch(self) -> bool:
        """Shots of the batch are left out of the virtual images of all its classes."""
        return self.options.lambda_aug > 0

    @property
    def hand_crafted(self) -> list[str]:
        """All templates, which together are the second view."""
        return [*self.options.own_templates, *self.options.templates]

    @property
    def read_templates(self) -> list[str]:
        """Those of the second view, where the loss or the classifier has a use for it."""
        return self.hand_crafted if self.options.lambda_mi or self.options.r else []

    @property
    def template_features(self) -> Tensor:
        """The hand-crafted view, unit text features (C, D) of the ensemble of all templates."""
        if self._template_features is None:
            self._template_features = self.backbone.template_features(self.hand_crafted, self.class_names)
        return self._template_features

    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """The context before the name; the image tower stays frozen."""
        return TextPrompts(self.text_context), None

    def _text_features(self, prompts: TextPrompts | None) -> Tensor:
        soft = super()._text_features(prompts)
        if self.training or not self.options.r:
            return soft
        return F.normalize((1 - self.options.r) * soft + self.options.r * self.template_features, dim=-1)

    def prepare(self, train_set: ImageSet, val_set: ImageSet | None) -> None:
        """Store the frozen features of all shots, which the augmentation mixes."""
        if self.options.lambda_aug:
            self.shots, self.shot_labels = frozen_features(self.backbone, train_set)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Cross-entropy, `mutual_information` and `augmentation`, as far as they have a weight."""
        options = self.options
        cross_entropy = F.cross_entropy(prediction.logits, labels)
        terms = LossTerms(total=cross_entropy, cross_entropy=cross_entropy)
        views = [prediction.text_features]
        if options.lambda_aug:
            classes, virtual = self.virtual_images(prediction, labels)
            views.append(self.explored_views(prediction.text_features, classes, virtual))
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
        """A mixture of shots for each class of the batch that has shots which are not in the batch themselves.

        An image must not help to classify itself. Which shots are in the batch is what `index` in the prediction's
        extras says; without it, each image's nearest shot of its class is taken for its own.

        Returns:
            the classes (K,), and their virtual images, unit vectors (K, D).
        """
        classes, place = self.shot_labels.unique(return_inverse=True)
        # A Dirichlet draw is that many Gamma draws over their sum, which normalizing takes away. Logarithms of Gamma(a)
        # draws, as those of Gamma(a + 1) U^(1 / a), do not vanish where alpha is small.
        alpha, count = self.options.alpha, len(self.shots)
        gamma = torch.distributions.Gamma(alpha + 1, 1.0).sample((count,))
        drawn = gamma.log() + torch.rand(count).log() / alpha
        drawn = drawn.clamp(min=-1e30).to(self.shots.device)
        drawn[~torch.isin(self.shot_labels, labels)] = -torch.inf
        drawn[self._in_batch(prediction, labels)] = -torch.inf
        largest = drawn.new_full((len(classes),), -torch.inf).scatter_reduce(0, place, drawn, "amax")
        there = largest.isfinite()
        weights = (drawn - largest[place]).exp().where(there[place], 0)
        mixed = self.shots.new_zeros(len(classes), self.shots.shape[1]).index_add(
            0, place, weights[:, None] * self.shots
        )
        return classes[there], F.normalize(mixed[there], dim=-1)

    def explored_views(self, text: Tensor, classes: Tensor, virtual: Tensor) -> Tensor:
        """Text views (C, D) that lean to the virtual images (K, D) of K classes, as far as their gates open.

        A gate opens by how much better the critic finds the virtual image with its own class than with the mean of all.
        """
        if not self.options.gate_max or not len(classes):
            return text
        scores = self.critic(text, virtual)  # (C, K)
        own = scores.gather(0, classes[None])[0]
        gate = self.options.gate_max * (own - scores.mean(0)).sigmoid()[:, None]
        explored = F.normalize((1 - gate) * text[classes] + gate * virtual, dim=-1)
        return text.index_copy(0, classes, explored)

    def _in_batch(self, prediction: Prediction, labels: Tensor) -> Tensor:
        """Positions among the shots (B,) of the batch's images."""
        if not len(self.shots):
            return labels[:0]
        if "index" in prediction.extras:
            return prediction.extras["index"]
        cosine = prediction.image_features @ self.shots.T  # (B, N)
        return cosine.masked_fill(labels[:, None] != self.shot_labels, -torch.inf).argmax(1)

    def _cross_entropy(self, images: Tensor, labels: Tensor, text: Tensor) -> Tensor:
        return F.cross_entropy(self.classify(images, text).logits, labels)
