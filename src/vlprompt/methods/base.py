"""The contract of a method: prompts as data, a prediction, a loss.

A new method usually writes `prompts` and `loss` and nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vlprompt.backbones.backbone import Backbone
from vlprompt.data.class_names import as_words
from vlprompt.errors import VLPromptError
from vlprompt.prompts import TextPrompts, VisualPrompts
from vlprompt.registry import Registry


@dataclass
class Prediction:
    """What a method says of a batch of B images among C classes.

    Not frozen, since Fabric copies what a forward pass returns field by field.

    Attributes:
        logits: tensor with shape (B, C), exp(logit scale) times the cosine of image and text features.
        image_features: unit vectors, tensor with shape (B, D).
        text_features: unit vectors, tensor with shape (C, D), or (B, C, D) where they depend on the image.
        extras: what a loss needs besides, such as frozen features. While training, `index` (B,) are the positions of
            the batch's images among the shots.
    """

    logits: Tensor
    image_features: Tensor
    text_features: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


class LossTerms(dict[str, Tensor]):
    """Named scalar losses: `total`, which is minimized, and its terms, before their weights unless a method says so."""

    @property
    def total(self) -> Tensor:
        """The loss to minimize."""
        return self["total"]


class SupportsBackward(Protocol):
    """What `backward` needs of Lightning Fabric."""

    def backward(self, tensor: Tensor, *, retain_graph: bool = False) -> None:
        """Back-propagate under Fabric's precision and strategy."""

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Any:
        """One tensor from those of all devices, in place."""


MOST = 4096  # vectors in a prompt; towers read fewer


class Options(BaseModel):
    """Options of a method: typed, bounded and described in one place, each a keyword of `create_method`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    template: str | list[str] = Field(
        "a photo of a {}.",
        description="Hand-crafted prompt with {} for the class name, wherever the method uses one; a list is an "
        "ensemble.",
    )

    @field_validator("template", "templates", check_fields=False)
    @classmethod
    def _names_the_class(cls, value: str | list[str], field: ValidationInfo) -> str | list[str]:
        """Refuse a template that would be the same sentence for every class, and no template at all."""
        templates = [value] if isinstance(value, str) else value
        named = [template.replace("{}", "name") for template in templates if template.count("{}") == 1]
        missing = field.field_name == "template" and not named
        if missing or len(named) < len(templates) or any("{" in sentence or "}" in sentence for sentence in named):
            raise ValueError("a template needs {} once, where the class name goes")
        return value

    @field_validator("ctx_init", mode="before", check_fields=False)
    @classmethod
    def _words_or_none(cls, value: object) -> object:
        """No words are None, which the authors' programs write as an empty text."""
        return None if isinstance(value, str) and not value.replace("_", " ").strip() else value

    @field_validator("n_ctx", "n_text", "n_visual", "rank", check_fields=False)
    @classmethod
    def _fits_in_memory(cls, value: int) -> int:
        """Refuse a number of which a record from anywhere could ask for terabytes."""
        if value > MOST:
            raise ValueError(f"Input should be at most {MOST}")
        return value

    @property
    def own_templates(self) -> list[str]:
        """`template` as a list, whether it is one sentence or an ensemble."""
        return [self.template] if isinstance(self.template, str) else self.template


OptionsType = TypeVar("OptionsType", bound=Options)
ImageSet = Dataset[Any]


class Method(nn.Module, ABC, Generic[OptionsType]):
    """A way to adapt a frozen backbone to classes.

    The trainable parameters, and only those, are its `named_parameters()`; the backbone is held, not registered.

    Attributes:
        Options: the pydantic model of the method's options.
        name: under which it is registered.
        backbone: the frozen dual encoder.
        class_names: C names as words, underscores replaced by spaces.
        options: the validated options.
    """

    Options: ClassVar[type[Options]] = Options
    name: ClassVar[str]

    def __init__(self, backbone: Backbone, class_names: Sequence[str], options: OptionsType) -> None:
        super().__init__()
        # A tuple keeps the backbone out of the module tree, and so out of parameters() and state_dict().
        self._held = (backbone,)
        self.options = options
        self.class_names: tuple[str, ...] = ()
        self._template_features: Tensor | None = None
        self._set_names(class_names)
        if self.visual_prompts and backbone.vision.width is None:
            raise VLPromptError(
                f"method {self.name!r} with these options works inside the image tower, and that of {backbone.name} "
                f"({backbone.vision.kind}) has no place for it; methods that work: {', '.join(text_only_methods())}"
            )
        self.build()
        self.to(backbone.device)
        self.check_names(self.class_names)
        if not self.class_bound:
            self._check_readings()

    @property
    def backbone(self) -> Backbone:
        """The frozen dual encoder."""
        return self._held[0]

    @property
    def visual_prompts(self) -> bool:
        """Whether the method changes the image tower; if not, images can be given as cached frozen features."""
        return False

    @property
    def class_bound(self) -> bool:
        """Whether what is learned belongs to the classes of training, so that new ones cannot be named."""
        return False

    @property
    def instance_conditional(self) -> bool:
        """Whether text features depend on the image, so that classes cannot be encoded once for all images."""
        return False

    @property
    def whole_batch(self) -> bool:
        """Whether the loss looks at a batch's images together, so that each of several devices needs those of all.

        What the loss gets then is `classify` of their features, with `index` in its extras.
        """
        return False

    @property
    def read_templates(self) -> list[str]:
        """Hand-crafted prompts that have to hold every class name: `template`, unless prompts take its place."""
        return self.options.own_templates if self.prompts()[0] is None else []

    @property
    def trainable(self) -> int:
        """Number of values that are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def build(self) -> None:
        """Create parameters and buffers. `self.backbone`, `self.class_names` and `self.options` are set."""

    @abstractmethod
    def prompts(self, image_features: Tensor | None = None) -> tuple[TextPrompts | None, VisualPrompts | None]:
        """Prompts for both towers; None leaves a tower frozen.

        Args:
            image_features: unit features (B, D), for methods whose text prompts depend on the image.
        """

    def text_features(self) -> Tensor:
        """Unit text features of the classes, tensor with shape (C, D). VLPromptError where they need an image.

        Outside of training a class's feature must not depend on the other classes that are named: tests among fewer
        classes are read off the same logits.
        """
        if self.instance_conditional:
            raise VLPromptError(f"text features of method {self.name!r} need an image; take a prediction's")
        return self._text_features(self.prompts()[0])

    def image_features(self, images: Tensor) -> Tensor:
        """Unit image features (B, D) of images (B, 3, image_size, image_size), or of cached frozen features (B, D)."""
        return self._image_features(images, self.prompts()[1])

    def forward(self, images: Tensor, text_features: Tensor | None = None) -> Prediction:
        """Classify a batch.

        Args:
            images: tensor with shape (B, 3, image_size, image_size); a method without visual prompts also takes frozen
                image features (B, D).
            text_features: what `class_features()` gave, so that a loop over batches encodes the classes once.
        """
        text_prompts, visual_prompts = self.prompts()
        if text_features is None:
            text_features = self._text_features(text_prompts)
        return self.classify(self._image_features(images, visual_prompts), text_features)

    def class_features(self) -> Tensor | None:
        """What a loop over batches encodes once and gives to `forward`; None where every image has its own."""
        return None if self.instance_conditional else self.text_features()

    def classify(self, image_features: Tensor, text_features: Tensor, **extras: Tensor) -> Prediction:
        """Prediction from unit features (B, D) and (C, D) or (B, C, D), with the backbone's logit scale."""
        scaled = self.backbone.logit_scale.exp() * image_features
        if text_features.ndim == 3:
            logits = (text_features @ scaled[..., None])[..., 0]
        else:
            logits = scaled @ text_features.T
        return Prediction(logits, image_features, text_features, extras)

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        """Loss terms with `total`, for labels (B,); cross-entropy unless a method says otherwise."""
        return LossTerms(total=F.cross_entropy(prediction.logits, labels))

    def backward(self, terms: LossTerms, fabric: SupportsBackward | None = None) -> None:
        """Leave gradients in the parameters' `.grad`."""
        if fabric is None:
            terms.total.backward()
        else:
            fabric.backward(terms.total)

    def prepare(self, train_set: ImageSet, val_set: ImageSet | None) -> None:
        """Compute once, before training, what the method needs of its images.

        Args:
            train_set: items (image (3, S, S) or frozen feature (D,), label, ...) under the test transform.
            val_set: the same of the validation images, or None where there are none.
        """

    def set_epochs(self, epochs: int) -> None:
        """Called once, before any work starts, with the number of epochs that training takes."""

    def on_epoch_end(self, epoch: int) -> None:
        """Called after epoch `epoch`, counted from 1."""

    def load_prompts(self, state: dict[str, Tensor]) -> None:
        """Take over the state dict of a tuned method. One whose tensors get their size in `prepare` makes them here."""
        self.load_state_dict(state)

    def check_names(self, names: Sequence[str]) -> None:
        """VLPromptError, naming the class, where a name is empty, there twice, or too long for the text tower."""
        words, text = as_words(names), self.prompts()[0]
        unread = next((word for word in words if not self.backbone.tokenize.encode(word)), None)
        if unread is not None:
            raise VLPromptError(f"class_names holds {unread!r}, of which the model reads nothing; use other words")
        if text is not None:
            self.backbone.text.check_names(text, words)
        for template in self.read_templates:
            self.backbone.tokenize.check_names(template, words)

    def set_class_names(self, names: Sequence[str]) -> None:
        """Go on with other classes and the same prompts. VLPromptError where the method is `class_bound`."""
        if self.class_bound:
            raise VLPromptError(
                f"method {self.name!r} with these options learns something for each class and has nothing for new "
                "ones; use options that share it among classes"
            )
        words = as_words(names)
        self.check_names(words)
        self._set_names(words)

    @property
    def template_features(self) -> Tensor:
        """Unit text features (C, D) of the hand-crafted template(s), encoded once for the current classes."""
        if self._template_features is None:
            self._template_features = self.backbone.template_features(self.options.template, self.class_names)
        return self._template_features

    def _check_readings(self) -> None:
        """VLPromptError where the model reads two names as the same and can't tell their classes apart."""
        first: dict[tuple[int, ...], str] = {}
        for name in self.class_names:
            twin = first.setdefault(tuple(self.backbone.tokenize.encode(name)), name)
            if twin != name:
                raise VLPromptError(
                    f"class_names holds {twin!r} and {name!r}, which the model reads as the same; "
                    "give each class a name of its own"
                )

    def _set_names(self, names: Sequence[str]) -> None:
        self.class_names = as_words(names)
        self._template_features = None

    def _text_features(self, prompts: TextPrompts | None) -> Tensor:
        if prompts is None:
            return self.template_features
        return F.normalize(self.backbone.text.encode_prompts(prompts, self.class_names), dim=-1)

    def _image_features(self, images: Tensor, prompts: VisualPrompts | None) -> Tensor:
        if images.ndim == 2:
            if prompts is not None:
                raise VLPromptError(f"method {self.name!r} learns visual prompts and needs images, not frozen features")
            return F.normalize(images.float(), dim=-1)
        return F.normalize(self.backbone.vision(images, prompts), dim=-1)


METHODS: Registry[type[Method[Any]]] = Registry("method", Method)


def list_methods() -> list[str]:
    """Names that `create_method` takes."""
    return METHODS.names()


def text_only_methods() -> list[str]:
    """Names of the methods that work on any image tower."""
    return [name for name in METHODS.names() if METHODS.get(name).visual_prompts is Method.visual_prompts]


def create_method(name: str, backbone: Backbone, class_names: Sequence[str], **options: object) -> Method[Any]:
    """Create a method for these classes.

    Args:
        name: one of `list_methods()`.
        backbone: what `load_backbone` returned.
        class_names: C names; underscores are read as spaces.
        options: options of the method; `create_method.__doc__` cannot list them, `vlprompt list methods` does.

    Raises:
        VLPromptError: an unknown method or option, or a value out of bounds; it names the option and what it takes.
    """
    method = METHODS.get(name)
    return method(backbone, class_names, method_options(name, options))


def method_options(name: str, options: dict[str, Any]) -> Options:
    """The validated options of method `name`; VLPromptError names what is wrong with one."""
    model = METHODS.get(name).Options
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise VLPromptError(f"method {name!r} has no option {option!r}; it has: {known}") from error
        raise VLPromptError(
            f"method.{option}={first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def check_depth(option: str, depth: int, layers: int) -> None:
    """VLPromptError, naming the option, where prompts are to reach deeper than a tower has layers."""
    if depth > layers:
        raise VLPromptError(f"method.{option}={depth}: the tower has {layers} layers; use 1 to {layers}")


@torch.no_grad()
def frozen_features(backbone: Backbone, images: ImageSet, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Unit frozen features (N, D) and labels (N,) of a set whose items are (image or frozen feature, label, ...)."""
    features, labels = [], []
    for batch in DataLoader(images, batch_size=batch_size):
        values = batch[0].to(backbone.device)
        raw = values if values.ndim == 2 else backbone.vision(values)
        features.append(F.normalize(raw.float(), dim=-1))
        labels.append(torch.as_tensor(batch[1]))
    return torch.cat(features), torch.cat(labels).to(backbone.device)
