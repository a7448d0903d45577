"""A tuned classifier: pictures in, class names and probabilities out."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.backbones.backbone import Backbone
from vlprompt.classifier.image_inputs import Picture, as_image, as_many, read_ahead
from vlprompt.classifier.model_card import model_card
from vlprompt.config.schema import MethodConfig
from vlprompt.data.images import ImageError
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method, as_words, create_method
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.restore import restore
from vlprompt.runs.state import PROMPTS, prompts_file
from vlprompt.utils.files import is_free, leftovers, remove_leftovers, unfinished

BATCH = 32
FILES = ("run.json", PROMPTS)


@dataclass(frozen=True)
class Guess:
    """The answer to one picture.

    Attributes:
        label: the likeliest class.
        probability: of that class.
        top: the likeliest classes and their probabilities, likeliest first.
        probabilities: of all classes, in the order of the classifier's `class_names`, (C,) float32.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    probabilities: NDArray[np.float32] = field(repr=False, compare=False)


class Classifier(ModelHubMixin, library_name="vlprompt", pipeline_tag="image-classification", tags=["clip"]):
    """A method with its prompts, ready for pictures; the classes are encoded once.

    `vlprompt.tune` and `vlprompt.load` make one. `save_pretrained`, `from_pretrained` and `push_to_hub` are those of
    every model on the Hugging Face hub; what they save is a run's folder, with a model card.

    Attributes:
        record: of the run that tuned it.
        method: in eval mode.
    """

    # Its presence in a folder is what the hub counts downloads by.
    _hub_mixin_config = {"model_type": "vlprompt"}  # noqa: RUF012 - the mixin's own, and not typed as a class variable

    def __init__(self, record: RunRecord, method: Method[Any]) -> None:
        self.record = record
        self.method = method.eval()
        self._text_features = self._encode_classes()
        size = method.backbone.image_size
        # A gray picture tells of visual prompts and probes. -inf alone is a class that a probe was shown no image of.
        if not self.logits(torch.zeros(1, 3, size, size)).amax().isfinite():
            raise self._no_numbers("logits")

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names as words, in the order of the labels."""
        return self.method.class_names

    @property
    def temperature(self) -> float:
        """What logits are divided by: that of the run's calibration on held-out shots, or 1 where it had none."""
        return self.record.calibration.temperature if self.record.calibration else 1.0

    def predict(self, images: Picture | Iterable[Picture], *, top: int = 5, batch_size: int = BATCH) -> list[Guess]:
        """Classify pictures.

        Args:
            images: one or many of: a file's path, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4) of bytes or of
                floats from 0 to 1.
            top: how many classes `Guess.top` has at most.
            batch_size: pictures at a time in the image tower.

        Returns:
            a guess for each, in order.

        Raises:
            ImageError: one of them cannot be read; nothing is fetched from a URL. `predict_each` goes on instead.
        """
        guesses = []
        for guess in self.predict_each(as_many(images), top=top, batch_size=batch_size):
            if isinstance(guess, ImageError):
                raise guess
            guesses.append(guess)
        return guesses

    def predict_each(
        self, images: Iterable[Picture], *, top: int = 5, batch_size: int = BATCH
    ) -> Iterator[Guess | ImageError]:
        """As `predict`, one by one, and with the ImageError of a picture that cannot be read in its place."""
        if top < 1:
            raise VLPromptError(f"top={top}: give 1 or more")
        for batch in read_ahead(images, self.pixels, batch_size):
            good = [pixels for pixels in batch if isinstance(pixels, Tensor)]
            guesses = iter(self.guess(torch.stack(good), top=top) if good else ())
            for pixels in batch:
                yield pixels if isinstance(pixels, ImageError) else next(guesses)

    def pixels(self, image: Picture) -> Tensor:
        """One picture as the image tower takes it, (3, S, S). Threads may call it. ImageError if it cannot be read."""
        return self.method.backbone.eval_transform(as_image(image), random.Random(0))

    @torch.no_grad()
    def logits(self, pixels: Tensor) -> Tensor:
        """Logits of pixels (B, 3, S, S), divided by the temperature: (B, C), fp32, on the CPU.

        The logit of a class does not depend on the others, so a softmax over some columns is the answer among these.
        """
        found = self.method(pixels.to(self.method.backbone.device), self._text_features).logits
        scaled: Tensor = found.float().cpu() / self.temperature
        return scaled

    def guess(self, pixels: Tensor, *, top: int = 5) -> list[Guess]:
        """The model's part of `predict`, for pixels (B, 3, S, S)."""
        probabilities = self.logits(pixels).softmax(-1)  # (B, C)
        likeliest = probabilities.topk(min(top, len(self.class_names)))
        guesses = []
        for row, values, labels in zip(probabilities.numpy(), *(part.tolist() for part in likeliest), strict=True):
            ranked = tuple((self.class_names[label], value) for label, value in zip(labels, values, strict=True))
            guesses.append(Guess(*ranked[0], ranked, row))
        return guesses

    @torch.no_grad()
    def features(self, images: Picture | Iterable[Picture], *, batch_size: int = BATCH) -> NDArray[np.float32]:
        """Unit features of pictures, as the prompts make them, (N, D). ImageError as in `predict`."""
        found = [np.empty((0, self.method.backbone.embed_dim), np.float32)]
        for batch in read_ahead(as_many(images), self.pixels, batch_size):
            for pixels in batch:
                if isinstance(pixels, ImageError):
                    raise pixels
            device = self.method.backbone.device
            features = self.method.image_features(torch.stack(batch).to(device))  # type: ignore[arg-type]
            found.append(features.float().cpu().numpy())
        return np.concatenate(found)

    def add_classes(self, names: Iterable[str]) -> None:
        """Let more classes compete, by their names alone; the prompts stay.

        Raises:
            VLPromptError: an empty name, one that is there, one that is too long for the text tower, or a method that
                learned something for each of its classes.
        """
        names = _words(names)
        before, known = self.class_names, self._text_features
        every = as_words((*before, *names))
        # Features of a class do not depend on the others, so only the new ones are computed.
        self.method.set_class_names(names)
        try:
            fresh = self._encode_classes()
        except BaseException:
            self.method.set_class_names(before)
            raise
        self.method.set_class_names(every)
        self._text_features = None if known is None or fresh is None else torch.cat([known, fresh])

    def remove_classes(self, names: Iterable[str]) -> None:
        """Let classes compete no more. VLPromptError: a name that is not there, or none would be left."""
        names = _words(names)
        gone = as_words(names)
        if unknown := set(gone) - set(self.class_names):
            raise VLPromptError(f"there is no class {min(unknown)!r}; classes: {', '.join(self.class_names[:20])}")
        kept = [place for place, name in enumerate(self.class_names) if name not in gone]
        if not kept:
            raise VLPromptError("no class would be left; add others first")
        self.method.set_class_names([self.class_names[place] for place in kept])
        if self._text_features is not None:
            self._text_features = self._text_features[kept]

    def zero_shot(self) -> "Classifier":
        """The frozen model with the hand-crafted prompt and the same classes, to compare with."""
        template = self.method.options.template
        method = create_method("zero-shot", self.method.backbone, self.class_names, template=template)
        config = self.record.config.model_copy(update={"method": MethodConfig(name="zero-shot", template=template)})
        return Classifier(self.record.model_copy(update={"config": config, "metrics": {}, "calibration": None}), method)

    def save(self, folder: str | Path) -> None:
        """Write the prompts and the record, for `vlprompt.load` and every command that takes a run.

        The record says which backbone it takes, but not where the images were.

        Raises:
            VLPromptError: the folder is not empty, and not one that was saved before.
        """
        self._write(Path(folder), self._portable_record())

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> str | None:
        """As `save`, with a model card, and without the path of a file of weights: `from_pretrained` takes `backbone`.

        Arguments are those of `huggingface_hub.ModelHubMixin.save_pretrained`.
        """
        _check_free(Path(save_directory))  # before the mixin removes a config.json there
        return super().save_pretrained(save_directory, *args, **kwargs)

    def generate_model_card(self, *args: Any, license: str | None = None, **kwargs: Any) -> ModelCard:
        """The card that `save_pretrained` and `push_to_hub` write: method, data, metrics, license, how to use.

        Args:
            *args: not used.
            license: of the prompts, as the hub names it ("apache-2.0"); `model_card_kwargs={"license": ...}` of
                `save_pretrained` and `push_to_hub`.
            **kwargs: what a template would take; not used.
        """
        return model_card(self._public_record(), self.class_names, license)

    def _portable_record(self) -> RunRecord:
        """The record without the paths of this machine's pictures."""
        now, config = list(self.class_names), self.record.config
        source = config.data.source
        named = source if source.startswith("hf:") else Path(source).name
        data = {"source": named, "root": None, "class_names": None, "targets": ()}
        changes = {
            "status": "saved",
            "config": config.model_copy(update={"data": config.data.model_copy(update=data)}),
            "classes_now": None if now == self.record.class_names else now,
            "split": self.record.split.model_copy(update={"skipped": []}),
            "prompts_from": None,
        }
        return self.record.model_copy(update=changes)

    def _public_record(self) -> RunRecord:
        """The portable record with the name alone of a file of weights."""
        record = self._portable_record()
        config, source = record.config, record.config.backbone.source
        architecture, _, file = source.partition("/")
        if Path(source).expanduser().exists() or source.startswith("local-dir:"):
            source = Path(source).name
        elif Path(file).is_absolute():  # of ARCHITECTURE/FILE
            source = f"{architecture}/{Path(file).name}"
        backbone = config.backbone.model_copy(update={"source": source})
        record.config = config.model_copy(update={"backbone": backbone})
        return record

    def _write(self, folder: Path, record: RunRecord) -> None:
        _check_free(folder)
        prompts = prompts_file(self.method)
        # Both are written whole before either takes its name, so that a full disk leaves what was there. By the hash, a
        # record finds its prompts where a kill came between the two names.
        with unfinished(folder / PROMPTS, prompts):
            record.model_copy(update={"prompts_hash": hashlib.sha256(prompts).hexdigest()}).write(folder)
        remove_leftovers(folder, FILES)

    def _encode_classes(self) -> Tensor | None:
        with torch.no_grad():
            features = self.method.class_features()
        if features is not None and not features.isfinite().all():
            raise self._no_numbers("class features")
        return features

    def _no_numbers(self, what: str) -> VLPromptError:
        return VLPromptError(
            f"the prompts of method {self.method.name!r} make {what} that are no numbers; their file is damaged, or "
            "training did not converge: tune again with a lower optim.lr"
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        self._write(save_directory, self._public_record())

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        device: str = "auto",
        backbone: Backbone | str | Path | None = None,
        **unused: Any,
    ) -> Self:
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        return cls(*restore(folder, device=device, backbone=backbone))


def load(run: str | Path, *, device: str = "auto", backbone: Backbone | str | Path | None = None) -> Classifier:
    """The classifier that a run's folder holds.

    Args:
        run: the folder, as `tune`, `Classifier.save` or `save_pretrained` left it.
        device: as in `load_backbone`.
        backbone: the one it was tuned on, if it is loaded already, or what `load_backbone` takes, if it lies elsewhere.

    Raises:
        VLPromptError: no run there, no prompts yet, or other weights than it was tuned on.
    """
    return Classifier(*restore(run, device=device, backbone=backbone))


load_classifier = load  # stand-in of this branch for the renaming that the parcel CLASSIFIER makes


def _words(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise VLPromptError(f"give a list of class names, such as [{names!r}], not one word")
    words = list(names)
    if strange := [name for name in words if not isinstance(name, str)]:
        raise VLPromptError(f"a class name is a word, not {strange[0]!r}")
    if not words:
        raise VLPromptError("no class name was given; name one or more")
    return words


def _check_free(folder: Path) -> None:
    saved = (folder / "run.json").exists() and read_record(folder).status == "saved"
    if not saved and not is_free(folder, but=leftovers(folder, FILES)):
        raise VLPromptError(f"{folder} exists and holds something else; choose another folder")
