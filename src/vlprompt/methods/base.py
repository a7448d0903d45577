"""`Method`, the base class of all methods, with their predictions, losses and registry.

A new method usually implements `build`, `adapters` and `loss`; the base class does the rest.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Generic, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.backbones.backbone import Backbone
from vlprompt.data.class_names import as_words
from vlprompt.errors import VLPromptError
from vlprompt.methods.options import Options, OptionsType
from vlprompt.methods.shots import LabeledImages
from vlprompt.prompts import Adapters
from vlprompt.registry import Registry
from vlprompt.utils.strings import listed

logger = logging.getLogger("vlprompt")


@dataclass
class Prediction:
    """Output of a method for a batch of B images and C classes.

    Not frozen, since Fabric copies the output of a forward pass field by field.

    Attributes:
        logits: tensor with shape (B, C), exp(logit scale) times the cosine of image and text features.
        image_features: unit vectors, tensor with shape (B, D).
        text_features: unit vectors, tensor with shape (C, D), or (B, C, D) if they depend on the image.
        extras: further tensors for the loss, such as frozen features. In training, `index` (B,) holds the positions of
            the batch among the shots.
    """

    logits: Tensor
    image_features: Tensor
    text_features: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


class LossTerms(dict[str, Tensor]):
    """Named scalar losses: `total`, which is minimized, and its terms, unweighted unless a method documents otherwise.

    Examples:
        >>> import torch
        >>> terms = LossTerms(total=torch.tensor(1.5), cross_entropy=torch.tensor(1.0), distance=torch.tensor(0.25))
        >>> terms.total
        tensor(1.5000)
    """

    @property
    def total(self) -> Tensor:
        """The loss to minimize."""
        return self["total"]


class SupportsBackward(Protocol):
    """Part of Lightning Fabric that `Method.backward` uses."""

    def backward(self, tensor: Tensor, *, retain_graph: bool = False) -> None:
        """Back-propagate under Fabric's precision and strategy."""

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Any:
        """Reduce a tensor across devices, in place."""


class Method(nn.Module, ABC, Generic[OptionsType]):
    """Base class of methods, which adapt a frozen backbone to classes.

    `named_parameters()` are exactly the trainable parameters; the backbone is not registered as a submodule.
    Subclasses may override everything without a leading underscore.

    Args:
        backbone: the frozen dual encoder.
        class_names: C class names; underscores become spaces.
        options: validated options.

    Attributes:
        Options: the pydantic model of the method's options.
        name: registered name, set by `METHODS.register`.
        text_alone: options with which a method that usually adapts the image tower leaves it frozen, for an error.
        backbone: the frozen dual encoder.
        class_names: C class names as words.
        options: the validated options.

    Raises:
        VLPromptError: the backbone does not support the method, or a class name cannot be used.

    Examples:
        >>> from torch import nn
        >>> from vlprompt import METHODS, Adapters, Method, Options, TextPrompts
        >>> @METHODS.register("four-vectors")
        ... class FourVectors(Method[Options]):
        ...     def build(self):
        ...         self.text_context = nn.Parameter(self.backbone.text.words("a photo of a").clone())
        ...
        ...     def adapters(self, image_features=None):
        ...         return Adapters(text=TextPrompts(self.text_context))
    """

    Options: ClassVar[type[Options]] = Options
    name: ClassVar[str]
    text_alone: ClassVar[str | None] = None

    def __init__(self, backbone: Backbone, class_names: Sequence[str], options: OptionsType) -> None:
        super().__init__()
        # A tuple keeps the backbone out of the module tree, and so out of parameters() and state_dict().
        self._held = (backbone,)
        self._template_features: Tensor | None = None
        self.options = options
        self.class_names = as_words(class_names)
        if self.adapts_images and backbone.vision.width is None:
            instead = "" if self.text_alone is None else f"set {self.text_alone}, or "
            works = ", ".join(text_only_methods())
            raise VLPromptError(
                f"method {self.name!r} with these options adapts the image tower, but that of {backbone.name} "
                f"({backbone.vision.kind}) does not support prompts; {instead}use one of {works}"
            )
        self.build()
        self.to(backbone.device)
        self.check_names(self.class_names)

    @property
    def backbone(self) -> Backbone:
        """The frozen dual encoder."""
        return self._held[0]

    @property
    def adapts_images(self) -> bool:
        """Whether the image tower is adapted. If not, cached frozen features can replace images."""
        return False

    @property
    def class_bound(self) -> bool:
        """Whether learned values are tied to the training classes, so that other classes cannot be used."""
        return False

    @property
    def instance_conditional(self) -> bool:
        """Whether text features depend on the image, so that they cannot be shared by all images."""
        return False

    @property
    def whole_batch(self) -> bool:
        """Whether the loss needs the whole batch at once, so that several devices gather their features.

        The loss then receives the prediction of `classify`, with `index` in its extras.
        """
        return False

    @property
    def templates(self) -> list[str]:
        """Hand-crafted prompts whose ensemble is `template_features`."""
        return self.options.template_list

    @property
    def encoded_templates(self) -> list[str]:
        """Hand-crafted prompts that the method encodes, and that every class name must fit into."""
        return self.templates if self.adapters().text is None else []

    @property
    def template_features(self) -> Tensor:
        """Unit text features (C, D) of the hand-crafted prompts, encoded once for the current classes."""
        if self._template_features is None:
            self._template_features = self.backbone.template_features(self.templates, self.class_names)
        return self._template_features

    @property
    def trainable(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def build(self) -> None:
        """Create parameters and buffers; `self.backbone`, `self.class_names` and `self.options` are already set."""

    @abstractmethod
    def adapters(self, image_features: Tensor | None = None) -> Adapters:
        """Return the prompts and updates of both towers.

        Args:
            image_features: unit features (B, D), for text prompts that depend on the image. Without them, such a
                method returns prompts of the same length that are shared by all images.
        """

    def encode_text(self, adapters: Adapters) -> Tensor:
        """Return unit text features of the classes, tensor with shape (C, D), or (B, C, D) for a context per image.

        In eval mode the feature of a class must not depend on other classes, since tests on fewer classes reuse the
        logits.

        Args:
            adapters: result of `adapters`.
        """
        tower, updates = self.backbone.text, adapters.text_updates
        if adapters.text is not None:
            return F.normalize(tower.encode_prompts(adapters.text, self.class_names, updates), dim=-1)
        if updates is None:
            return self.template_features
        total = torch.zeros((), device=self.backbone.device)
        for template in self.templates:
            texts = [template.format(name) for name in self.class_names]
            total = total + F.normalize(tower.encode_texts(texts, updates), dim=-1)
        return F.normalize(total, dim=-1)

    def encode_images(self, images: Tensor, adapters: Adapters) -> Tensor:
        """Return unit image features, tensor with shape (B, D).

        Args:
            images: tensor with shape (B, 3, image_size, image_size), or frozen features (B, D).
            adapters: result of `adapters`.

        Raises:
            VLPromptError: `images` are frozen features, and the method adapts the image tower.
        """
        if images.ndim == 2:
            if adapters.visual is not None or adapters.visual_updates is not None:
                raise VLPromptError(
                    f"method {self.name!r} adapts the image tower and requires images, got frozen features"
                )
            return F.normalize(images.float(), dim=-1)
        return F.normalize(self.backbone.vision(images, adapters.visual, adapters.visual_updates), dim=-1)

    def text_features(self) -> Tensor:
        """Return unit text features of the classes, tensor with shape (C, D).

        Raises:
            VLPromptError: the method is `instance_conditional`, so its text features depend on images.
        """
        if self.instance_conditional:
            raise VLPromptError(f"text features of method {self.name!r} depend on images; use those of a prediction")
        return self.encode_text(self.adapters())

    def image_features(self, images: Tensor) -> Tensor:
        """Return unit image features (B, D) of images (B, 3, image_size, image_size) or of frozen features (B, D)."""
        return self.encode_images(images, self.adapters())

    def class_features(self) -> Tensor | None:
        """Return text features for `forward`, so that a loop over batches encodes the classes only once.

        None if the method is `instance_conditional`.
        """
        return None if self.instance_conditional else self.text_features()

    def forward(self, images: Tensor, text_features: Tensor | None = None) -> Prediction:
        """Classify a batch.

        Exported graphs call `encode_images`, `encode_text` and `classify`, so override those to change logits.

        Args:
            images: tensor with shape (B, 3, image_size, image_size), or frozen features (B, D) for a method that does
                not adapt the image tower.
            text_features: result of `class_features()`; None to encode the classes.
        """
        adapters = self.adapters()
        if not self.instance_conditional:
            # Text first: the dropout masks of low-rank updates are drawn in this order.
            if text_features is None:
                text_features = self.encode_text(adapters)
            return self.classify(self.encode_images(images, adapters), text_features)
        image_features = self.encode_images(images, adapters)
        if text_features is None:
            text_features = self.encode_text(self.adapters(image_features))
        return self.classify(image_features, text_features)

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Return the prediction for unit features (B, D) and (C, D) or (B, C, D), with the backbone's logit scale.

        Args:
            image_features: result of `encode_images`.
            text_features: result of `encode_text`.
            extras: further tensors for the loss.
        """
        scaled = self.backbone.logit_scale.exp() * image_features
        if text_features.ndim == 3:
            logits = (text_features @ scaled[..., None])[..., 0]
        else:
            logits = scaled @ text_features.T
        return Prediction(logits, image_features, text_features, extras)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Return the loss terms, including `total`, for labels (B,); by default the cross-entropy."""
        return LossTerms(total=F.cross_entropy(prediction.logits, labels))

    def backward(self, terms: LossTerms, fabric: SupportsBackward | None = None) -> None:
        """Compute the gradients of the parameters, through `fabric` if given."""
        if fabric is None:
            terms.total.backward()
        else:
            fabric.backward(terms.total)

    def prepare(self, train_set: LabeledImages, val_set: LabeledImages | None) -> None:
        """Compute what the method needs from its images, once before training.

        Args:
            train_set: the shots under the test transform, items (image (3, S, S) or frozen feature (D,), label, ...).
            val_set: validation images in the same form; None if there are none.
        """

    def set_epochs(self, epochs: int) -> None:
        """Set the number of training epochs. Called once, before training."""

    def on_epoch_end(self, epoch: int) -> None:
        """Update the method after epoch `epoch`, counted from 1."""

    def load_prompts(self, state: dict[str, Tensor]) -> None:
        """Load the state dict of a tuned method. A method whose `prepare` sets tensor sizes must resize them here.

        Raises:
            ValueError, RuntimeError: the state belongs to another method, options, classes or backbone.
        """
        self.load_state_dict(state)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise VLPromptError, naming the class, if a name cannot be used with the method's prompts and templates.

        Two names with the same tokens are an error, unless the method is `class_bound`. Names of words that the weights
        lack are a warning.

        Args:
            names: class names as words.
        """
        unread = next((name for name in names if not self.backbone.tokenize.encode(name)), None)
        if unread is not None:
            raise VLPromptError(f"`class_names` holds {unread!r}, which has no tokens for the model; use other words")
        self.check_readings(names)
        adapters = self.adapters()
        self.backbone.text.check(adapters.text, adapters.text_updates, names)
        for template in self.encoded_templates:
            self.backbone.tokenize.check_names(template, names)

    def set_class_names(self, names: Sequence[str]) -> None:
        """Replace the class names and keep the learned prompts.

        Args:
            names: new class names; underscores become spaces.

        Raises:
            VLPromptError: the method is `class_bound`, or a name cannot be used.
        """
        if self.class_bound:
            raise VLPromptError(
                f"method {self.name!r} with these options learns something for each class and cannot name new ones; "
                "use options that share the prompts among classes"
            )
        words = as_words(names)
        self.check_names(words)
        self.class_names = words
        self._template_features = None

    def check_readings(self, names: Sequence[str]) -> None:
        """Raise VLPromptError, or warn, if the model reads two names as the same text, or a name as nothing."""
        first: dict[tuple[int, ...], str] = {}
        for name in names:
            twin = first.setdefault(self.backbone.text.reading(name), name)
            if twin == name:
                continue
            same = f"{twin!r} and {name!r}, which the model reads as the same text"
            if self.backbone.tokenize.encode(twin) != self.backbone.tokenize.encode(name):
                _warn_once(f"`class_names` holds {same}, since it does not know their words; use plain English words")
            elif self.class_bound:
                _warn_once(f"`class_names` holds {same}; only what is learned for each class tells them apart")
            else:
                raise VLPromptError(f"`class_names` holds {same}; give each class a different name")
        if blank := [name for reading, name in first.items() if set(reading) == {-1}]:
            _warn_once(f"`class_names`: the model knows no word of {listed(blank)}; use plain English words")


@lru_cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)


METHODS: Registry[type[Method[Any]]] = Registry("method", Method)


def text_only_methods() -> list[str]:
    """Return the names of the methods that work on any image tower."""
    return [name for name in METHODS.names() if METHODS.get(name).adapts_images is Method.adapts_images]
