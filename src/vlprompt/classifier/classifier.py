"""Classifier: a tuned method that maps images to class names with probabilities."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.backbones.backbone import Backbone
from vlprompt.classifier.exported_tower import ExportedTower
from vlprompt.classifier.image_inputs import ImageLike, as_image, as_iterable, read_ahead
from vlprompt.classifier.model_card import accuracies, model_card
from vlprompt.classifier.saving import check_free, portable_record, public_record, write_classifier
from vlprompt.config.schema import MethodConfig
from vlprompt.data.class_names import as_words
from vlprompt.data.dataset import Dataset
from vlprompt.data.images import ImageError
from vlprompt.data.loading import Rows, load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import all_for_testing, run_tests, summarize
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.runs.record import RunRecord
from vlprompt.runs.restore import restore
from vlprompt.runtimes.exported_model import FORMATS, RUNTIMES, check_runtime
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import listed

BATCH = 32
# Class names that `repr` and messages show.
SHOWN = 3


@dataclass(frozen=True)
class Guess:
    """Prediction for one image.

    Attributes:
        label: the most likely class.
        probability: its probability, from 0 to 1.
        top: the most likely classes with their probabilities, in descending order.
        probabilities: probabilities of all classes in the order of `Classifier.class_names`, float32 array with shape
            (C,).

    Examples:
        >>> (guess,) = classifier.predict("my_images/night/00.png", top=3)
        >>> guess.label, guess.top[0] == (guess.label, guess.probability)
        ('night', True)
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    probabilities: NDArray[np.float32] = field(repr=False, compare=False)


class Classifier(ModelHubMixin, library_name="vlprompt", pipeline_tag="image-classification", tags=["clip"]):
    """Image classifier with tuned prompts; class features are computed once.

    `vlprompt.tune` and `vlprompt.load_classifier` return one. `save_pretrained`, `from_pretrained` and `push_to_hub`
    work as for every model of the Hugging Face hub; they save a run folder with a model card.

    Attributes:
        record: record of the run that tuned it.
        method: tuned method, in eval mode.
        folder: run folder it was loaded from, or None.
        tower: image tower of an exported file that runs in place of PyTorch's, or None.

    Examples:
        >>> classifier = vlprompt.load_classifier("runs/mine")
        >>> classifier
        Classifier(coop, 4 classes: 'blue sky', 'green leaf', 'night' and 1 more; backbone pictoclip; runs/mine)
        >>> classifier.predict("my_images/night/00.png")[0].label
        'night'
        >>> classifier.evaluate("more_images")["accuracy"]
        93.75
    """

    # The hub counts downloads by this file (config.json).
    _hub_mixin_config = {"model_type": "vlprompt"}  # noqa: RUF012 - the mixin's attribute, not typed as a ClassVar

    def __init__(
        self, record: RunRecord, method: Method[Any], folder: Path | None = None, *, tower: ExportedTower | None = None
    ) -> None:
        self.record = record
        self.method = method.eval()
        self.folder = folder
        self.tower = tower
        self._text_features = self._encode_classes()
        size = method.backbone.image_size
        # One gray image detects broken visual prompts and probes. A linear probe has logits of -inf for classes
        # without training images, so only the largest logit has to be finite.
        if not self.logits(torch.zeros(1, 3, size, size)).amax().isfinite():
            raise self._non_finite("logits")

    def __repr__(self) -> str:
        names, record = self.class_names, self.record
        parts = [
            f"{self.method.name}, {len(names)} classes: {listed(names, SHOWN)}",
            f"backbone {record.backbone.name}",
            *([str(self.folder)] if self.folder else []),
        ]
        if names == tuple(record.class_names):  # metrics of other classes would mislead
            parts += [f"{test} accuracy {value:.1f}%" for test, value in accuracies(record).items()]
        return f"{type(self).__name__}({'; '.join(parts)})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes as words, in the order of the labels."""
        return self.method.class_names

    @property
    def temperature(self) -> float:
        """Temperature that divides the logits: fitted on held-out shots, or 1 without calibration."""
        return self.record.calibration.temperature if self.record.calibration else 1.0

    def predict(self, images: ImageLike | Iterable[ImageLike], *, top: int = 5, batch_size: int = BATCH) -> list[Guess]:
        """Classify images.

        Args:
            images: one image or several: file paths, open binary files (such as uploads), contents of files as bytes,
                PIL images, or arrays with shape (H, W), (H, W, 3) or (H, W, 4) that hold uint8 values, or floats from 0
                to 1; or a data frame with one column of these. URLs are refused.
            top: maximum number of classes in `Guess.top`.
            batch_size: images per forward pass of the image tower.

        Returns:
            One guess per image, in order.

        Raises:
            ImageError: an image cannot be read. Use `predict_each` to continue with the others.

        Examples:
            >>> [guess.label for guess in classifier.predict(["my_images/night/00.png", "my_images/night/01.png"])]
            ['night', 'night']
        """
        guesses = []
        for guess in self.predict_each(as_iterable(images), top=top, batch_size=batch_size):
            if isinstance(guess, ImageError):
                raise guess
            guesses.append(guess)
        return guesses

    def predict_each(
        self, images: Iterable[ImageLike], *, top: int = 5, batch_size: int = BATCH
    ) -> Iterator[Guess | ImageError]:
        """Yield a guess for each image, or the ImageError of one that cannot be read. Arguments as in `predict`.

        Examples:
            >>> for guess in classifier.predict_each(["my_images/night/00.png", "missing.png"]):
            ...     print(getattr(guess, "label", guess))
            night
            missing.png does not exist
        """
        if top < 1:
            raise VLPromptError(f"`top` must be at least 1, got {top}")
        for batch in read_ahead(images, self.pixels, batch_size):
            good = [pixels for pixels in batch if isinstance(pixels, Tensor)]
            guesses = iter(self.guess(torch.stack(good), top=top) if good else ())
            for pixels in batch:
                yield pixels if isinstance(pixels, ImageError) else next(guesses)

    def evaluate(
        self,
        data: str | Path | Dataset | Rows,
        *,
        name_map: Mapping[str, str] | Path | None = None,
        root: str | Path | None = None,
        exclude: Sequence[str] = (),
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Compute metrics on the images of a dataset, with the classes of that dataset.

        Args:
            data: anything that `load_dataset` takes, or a `Dataset`. All images are tested except those that the run
                learned from; of a dataset with a split, of the run's own and of a `Dataset`, the test images are.
            name_map: class names for the folder names of `data`, as in `load_dataset`.
            root: folder of the named datasets, as in `load_dataset`.
            exclude: patterns of files and folders to leave out, as in `load_dataset`.
            quiet: hide progress.

        Returns:
            `accuracy`, `macro_accuracy`, `calibration_error` and, with a calibrated temperature, `calibrated_error`, in
            percent; the number of `images`; and `class_accuracy`, a mapping from class names to percent.

        Raises:
            VLPromptError: `data` has no test images, or classes that the method cannot name, or the classifier runs an
                exported tower, whose accuracy would pass for the run's.

        Examples:
            >>> classifier.evaluate("more_images", quiet=True)["images"]
            16
        """
        if self.tower is not None:
            raise VLPromptError("a classifier with an exported tower is not evaluated; load the run with runtime torch")
        if isinstance(data, Dataset):
            dataset = data
        else:
            dataset = load_dataset(data, name_map=name_map, root=root, exclude=exclude)
            dataset = all_for_testing(dataset, self.record, self.folder)
        if not dataset.test:
            raise VLPromptError(f"`data` {dataset.name} has no test images; add some to its test split")
        config = self.record.config.model_copy(update={"protocol": "few-shot"})  # one test of all classes
        before = self.method.class_names
        try:
            predictions = run_tests(config, dataset, {}, self.method, Reporter(quiet=quiet))
        finally:
            if self.method.class_names != before:  # an image could not be read
                self.method.set_class_names(before)
        (metrics,) = summarize(config.protocol, predictions, self.record.calibration).values()
        return dict(metrics)

    def pixels(self, image: ImageLike, *, max_pixels: int | None = None) -> Tensor:
        """Preprocess one image for the image tower; return a tensor with shape (3, S, S). Thread-safe.

        Args:
            image: as in `predict`, or a file opened in binary mode.
            max_pixels: limit for image files, see `read_image`.

        Raises:
            ImageError: it cannot be read.
        """
        transform, value_range = self.method.backbone.eval_transform, self.record.config.data.value_range
        read = as_image(image, max_pixels=max_pixels, value_range=value_range, side=transform.side)
        return transform(read, random.Random(0))

    @torch.no_grad()
    def logits(self, pixels: Tensor) -> Tensor:
        """Compute logits divided by the temperature, (B, C) in fp32 on the CPU, of pixels (B, 3, S, S).

        The logit of a class does not depend on the other classes, so a softmax over a subset of the columns is the
        prediction among those classes.
        """
        if self.tower is None:
            logits = self.method(pixels.to(self.method.backbone.device), self._text_features).logits
        else:
            features, text_features = self.tower(pixels), self._text_features
            if text_features is None:
                text_features = self.method.encode_text(self.method.adapters(features))
            logits = self.method.classify(features, text_features).logits
        scaled: Tensor = logits.float().cpu() / self.temperature
        return scaled

    def guess(self, pixels: Tensor, *, top: int = 5) -> list[Guess]:
        """Classify preprocessed pixels (B, 3, S, S); see `predict`."""
        probabilities = self.logits(pixels).softmax(-1)  # (B, C)
        best = probabilities.topk(min(top, len(self.class_names)))
        guesses = []
        for row, values, labels in zip(probabilities.numpy(), *(part.tolist() for part in best), strict=True):
            ranked = tuple((self.class_names[label], value) for label, value in zip(labels, values, strict=True))
            guesses.append(Guess(*ranked[0], ranked, row))
        return guesses

    @torch.no_grad()
    def features(self, images: ImageLike | Iterable[ImageLike], *, batch_size: int = BATCH) -> NDArray[np.float32]:
        """Compute unit image features with the learned prompts.

        Args:
            images: as in `predict`.
            batch_size: images per forward pass of the image tower.

        Returns:
            array with shape (N, D).

        Raises:
            ImageError: an image cannot be read.

        Examples:
            >>> classifier.features(["my_images/night/00.png"]).shape
            (1, 128)
        """
        parts = [np.empty((0, self.method.backbone.embed_dim), np.float32)]
        for batch in read_ahead(as_iterable(images), self.pixels, batch_size):
            for pixels in batch:
                if isinstance(pixels, ImageError):
                    raise pixels
            pixels = torch.stack(batch)  # type: ignore[arg-type]
            run = self.method.image_features if self.tower is None else self.tower
            parts.append(run(pixels.to(self.method.backbone.device)).float().cpu().numpy())
        return np.concatenate(parts)

    def add_classes(self, class_names: Iterable[str]) -> None:
        """Add classes by name, with the same prompts.

        Raises:
            VLPromptError: a name is empty, already present or too long for the text tower, or the method is bound to
                the classes it was tuned on.

        Examples:
            >>> classifier.add_classes(["white cloud"])
            >>> classifier.class_names[-1]
            'white cloud'
        """
        names = as_words(class_names)
        before, features = self.class_names, self._text_features
        every = as_words((*before, *names))
        self.method.check_readings(every)
        # The feature of a class does not depend on the others, so only the new ones are computed.
        self.method.set_class_names(names)
        try:
            new_features = self._encode_classes()
        except BaseException:
            self.method.set_class_names(before)
            raise
        self.method.set_class_names(every)
        self._text_features = None if features is None or new_features is None else torch.cat([features, new_features])

    def remove_classes(self, class_names: Iterable[str]) -> None:
        """Remove classes by name.

        Raises:
            VLPromptError: a name is unknown, or no class would remain.

        Examples:
            >>> classifier.remove_classes(["white cloud"])
        """
        removed = as_words(class_names)
        if unknown := set(removed) - set(self.class_names):
            raise VLPromptError(
                f"`class_names` has unknown class {min(unknown)!r}; the classes are {listed(self.class_names, 20)}"
            )
        kept = [index for index, name in enumerate(self.class_names) if name not in removed]
        if not kept:
            raise VLPromptError("`class_names` has all classes; keep at least one")
        self.method.set_class_names([self.class_names[index] for index in kept])
        if self._text_features is not None:
            self._text_features = self._text_features[kept]

    def zero_shot(self) -> "Classifier":
        """Return a baseline: the frozen model with a hand-crafted prompt and the same classes.

        Its temperature is fitted on the same held-out shots and by the same rule as the classifier's own.

        Examples:
            >>> classifier.zero_shot().evaluate("more_images", quiet=True)["accuracy"]  # doctest: +SKIP
        """
        template = self.method.options.template
        method = create_method("zero-shot", self.method.backbone, self.class_names, template=template)
        config = self.record.config.model_copy(update={"method": MethodConfig(name="zero-shot", template=template)})
        calibration = self.record.zero_shot_calibration
        changes = {"config": config, "metrics": {}, "learning": None, "calibration": calibration}
        tower = None if self.method.adapts_images else self.tower
        return Classifier(self.record.model_copy(update=changes), method, tower=tower)

    def save(self, folder: str | Path) -> None:
        """Write prompts and record into a run folder, for `load_classifier` and every command that takes a run.

        The record names the backbone, but holds no paths of images.

        Raises:
            VLPromptError: the folder contains anything but a saved classifier.

        Examples:
            >>> classifier.save("classifiers/mine")
            >>> classifier = vlprompt.load_classifier("classifiers/mine")
        """
        write_classifier(Path(folder), portable_record(self.record, self.class_names), self.method)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> str | None:
        """Save for sharing: with a model card, and without local paths of weights.

        Load it with `from_pretrained`, which takes the weights file as `backbone`. Arguments as in
        `huggingface_hub.ModelHubMixin.save_pretrained`.
        """
        check_free(Path(save_directory))  # before the mixin removes a config.json there
        return super().save_pretrained(save_directory, *args, **kwargs)

    def generate_model_card(self, *args: Any, license: str | None = None, **kwargs: Any) -> ModelCard:
        """Return the card that `save_pretrained` and `push_to_hub` write.

        Args:
            *args: ignored; part of the mixin's signature.
            license: license of the prompts, in the hub's spelling ("apache-2.0"). `save_pretrained` and `push_to_hub`
                take it as `model_card_kwargs={"license": ...}`.
            **kwargs: ignored; part of the mixin's signature.
        """
        return model_card(public_record(self.record, self.class_names), self.class_names, license)

    def _encode_classes(self) -> Tensor | None:
        """Return the class features (C, D), or None if they depend on the image."""
        with torch.no_grad():
            features = self.method.class_features()
        if features is not None and not features.isfinite().all():
            raise self._non_finite("class features")
        return features

    def _non_finite(self, what: str) -> VLPromptError:
        return VLPromptError(
            f"the prompts of method {self.method.name!r} produce non-finite {what}: their file is damaged, or training "
            "diverged; tune again with a lower optim.lr"
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        write_classifier(save_directory, public_record(self.record, self.class_names), self.method)

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
        return cls(*restore(folder, device=device, backbone=backbone), Path(folder))


def load_classifier(
    run: str | Path,
    *,
    device: str = "auto",
    backbone: Backbone | str | Path | None = None,
    runtime: str = "torch",
    precision: str | None = None,
) -> Classifier:
    """Load the classifier of a run folder.

    Args:
        run: the folder, as written by `tune`, `Classifier.save` or `Classifier.save_pretrained`.
        device: device to load the backbone on, see `load_backbone`.
        backbone: backbone that the prompts were tuned with, loaded or as name or path; None for the recorded one.
        runtime: what runs the image tower: "torch", or "onnx" or "openvino" for the model that `vlprompt export` wrote
            into the folder in this format, on the CPU.
        precision: precision of that model; None for fp32. Only with "onnx" and "openvino".

    Raises:
        VLPromptError: the folder has no run or no prompts yet, or `backbone` has different weights; or `runtime` is
            unknown or not installed, or has no model of these prompts in this precision.

    Examples:
        >>> classifier = vlprompt.load_classifier("runs/mine", device="cpu")
        >>> classifier.class_names
        ('blue sky', 'green leaf', 'night', 'red apple')
    """
    if runtime not in RUNTIMES:
        raise VLPromptError(f"`runtime` must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    exported = runtime in FORMATS
    if precision and not exported:
        raise VLPromptError(
            f"`precision` {precision} is of an exported model; add `runtime` {' or '.join(FORMATS)}, or leave it out"
        )
    if exported:
        check_runtime(runtime, precision or "fp32")
        if device not in ("auto", "cpu"):
            raise VLPromptError(f"`runtime` {runtime} runs on the CPU, got `device` {device}; leave one of them out")
    record, method = restore(run, device="cpu" if exported else device, backbone=backbone)
    tower = ExportedTower(Path(run), method, runtime, precision or "fp32") if exported else None
    return Classifier(record, method, Path(run), tower=tower)
