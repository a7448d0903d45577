"""Configuration schema of a run: backbone, method, data, optimizer and runtime.

Recipes, dotted settings and `run.json` all follow it. The module imports neither torch nor the methods: method options
are stored unvalidated here, and `config.resolve` validates them.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vlprompt.backbones.preprocessing import Preprocessing, as_preprocessing
from vlprompt.backbones.sources.automatic import AUTO, concrete_source
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import did_you_mean, error_location, error_reason

# Bound of all numbers in settings and records; the largest seed is 2^63 - 1.
MAX_NUMBER = 1e19
# Fields that `config.resolve` fills in for the record, and error messages do not suggest.
RECORDED = ("recipe", "overrides")
# Keys of `config.protocols.PROTOCOLS`, repeated here so that a wrong one gets pydantic's list of choices.
ProtocolName = Literal["few-shot", "base-to-new", "cross-dataset", "domain-generalization"]

# Numbers of shots, and epochs by number of shots, in a recipe.
_SHOTS, _EPOCHS = TypeAdapter(int), TypeAdapter(dict[int, int])

# Options of `load_backbone` that a run records if they are given, or were not taken from the source itself.
BACKBONE_OPTIONS = ("heads", "quick_gelu", "preprocess")


class Section(BaseModel):
    """Base class of all sections: immutable, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class BackboneConfig(Section):
    """The frozen image and text towers."""

    source: str = Field(
        AUTO,
        description="Name, open_clip pair such as ViT-B-16/openai, or path; see `load_backbone`. `auto` becomes the "
        "name of the one that it stands for.",
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="Data type of the frozen weights and activations."
    )
    heads: tuple[int, int] | None = Field(
        None, description="Attention heads (text, image) of a raw state dict; None for one per 64 channels."
    )
    quick_gelu: bool | None = Field(
        None, description="Whether the activation is QuickGELU; None for what the source says, see `load_backbone`."
    )
    preprocess: Preprocessing | str | None = Field(
        None,
        description="Resizing and normalization of the images: an open_clip pair that has the same, such as "
        "ViT-B-16-SigLIP/webli, or a mapping of mean, std, interpolation and resize_mode. None for the source's own.",
    )

    @field_validator("source")
    @classmethod
    def _is_concrete(cls, value: str) -> str:
        return concrete_source(value)

    @field_validator("preprocess", mode="before")
    @classmethod
    def _is_preprocessing(cls, value: Any) -> Any:
        return None if value is None else as_preprocessing(value)

    @property
    def options(self) -> dict[str, Any]:
        """The options of `load_backbone` that are set, besides source and precision."""
        values = {name: getattr(self, name) for name in BACKBONE_OPTIONS}
        return {name: value for name, value in values.items() if value is not None}


class MethodConfig(BaseModel):
    """Name of a method and its options, on the same level (`method.beta_text=0.1`).

    Options are not validated here; `config.resolve.with_method_defaults` does that.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="Name of a registered method.")

    @property
    def options(self) -> dict[str, Any]:
        """The options without the name."""
        return dict(self.model_extra or {})


class DataConfig(Section):
    """Dataset, split and augmentation."""

    source: str = Field(description="Name of a dataset, folder, or .csv, .tsv, .parquet, .jsonl or .json file.")
    targets: tuple[str, ...] = Field(
        (), description="Other datasets to test on, if the protocol has any; each as in `source`."
    )
    root: str | None = Field(None, description="Folder that holds the named datasets, or a split file's images.")
    shots: int = Field(16, ge=1, description="Training images per class.")
    split_seed: int = Field(
        1,
        description="Seed of the train/val/test split, if the source comes without one or has several, as openmoji.",
    )
    name_map: str | None = Field(
        None,
        validation_alias=AliasChoices("name_map", "class_names"),  # its name in old records
        description="File (.json, .yaml, .csv or .tsv) that maps folder names to class names.",
    )
    exclude: tuple[str, ...] = Field(
        (), description="Shell patterns of files and folders that are left out, if the source is a folder."
    )
    crop_scale: tuple[float, float] = Field(
        (0.08, 1.0), description="Minimum and maximum fraction of the image's area that a training crop covers."
    )
    flip: bool = Field(True, description="Mirror training images horizontally with probability 0.5.")
    views: int = Field(
        8,
        ge=0,
        description="Augmented views of each image whose frozen features are cached, for methods without visual "
        "prompts; those that no epoch shows are not encoded. 0 disables the cache: every epoch runs the image tower on "
        "a new view.",
    )
    view_precision: Literal["bf16", "int8"] | None = Field(
        None,
        description="Precision in which OpenVINO encodes the views of training images, for methods without visual "
        "prompts. It is faster than PyTorch on CPUs with units for the precision, and features differ slightly. Needs "
        "a CPU, `backbone.precision=fp32` and the extra `openvino`. PyTorch encodes test images, and with None the "
        "views, too.",
    )
    value_range: tuple[float, float] | None = Field(
        None,
        description="Values of 16-bit, 32-bit and float images that become black and white, such as [0, 4095]; None "
        "for each image's own.",
    )

    @field_validator("value_range")
    @classmethod
    def _ascending(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and not value[0] < value[1]:
            raise ValueError(f"must be two values, the smaller first, got {list(value)}")
        return value

    @field_validator("view_precision")
    @classmethod
    def _of_views(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("views") == 0:
            raise ValueError("must be left out with data.views=0")
        return value

    @field_validator("source")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        """Replace `.` and `..` by the folder's own path, since runs and tables are named after it."""
        return str(Path(value).resolve()) if value and Path(value).name in ("", "..") else value

    @field_validator("crop_scale")
    @classmethod
    def _bounds(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError(f"must be two fractions with 0 < minimum <= maximum <= 1, got {list(value)}")
        return value


# Settings of `data` that belong to a recipe; the others select the images.
AUGMENTATION = ("crop_scale", "flip", "views", "view_precision")


class OptimConfig(Section):
    """Optimizer and schedule. Defaults are those of Dassl, the toolbox that most methods were published with."""

    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD, or AdamW with PyTorch's betas.")
    lr: float = Field(0.002, gt=0, description="Learning rate at the start of the cosine schedule.")
    epochs: int = Field(
        50,
        ge=1,
        description="Passes over the shots; the prompts of the last epoch are kept. May be a mapping from numbers "
        "of shots: {1: 50, 2: 100, 8: 200} means 100 epochs for 2 to 7 shots.",
    )
    min_steps: int = Field(
        0,
        ge=0,
        description="Smallest number of optimizer steps: a dataset with few images gets more epochs. 0 if `epochs` is "
        "set and this is not.",
    )
    batch_size: int = Field(32, ge=1, description="Images per step. A smaller last batch is dropped.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    eps: float = Field(1e-8, gt=0, description="Term added to AdamW's denominator for numerical stability.")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty for SGD, decoupled weight decay for AdamW.")
    warmup_epochs: int = Field(1, ge=0, description="First epochs, which run at the constant rate `warmup_lr`.")
    warmup_lr: float = Field(1e-5, gt=0, description="Learning rate during warm-up.")

    @field_validator("epochs", mode="before")
    @classmethod
    def _is_no_mapping(cls, value: Any) -> Any:
        """Explain the form of a mapping that `RunConfig` could not resolve."""
        if isinstance(value, dict):
            raise ValueError("must be an integer, or a mapping from shots to epochs such as {1: 50, 8: 200}")
        return value


class RuntimeConfig(Section):
    """Execution settings. They change the speed of a run; its result only by the rounding of sums."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    devices: int = Field(1, ge=1, description="Number of devices to train on; they share every batch.")
    threads: int | None = Field(None, ge=1, description="CPU threads; None for PyTorch's default.")
    workers: int | None = Field(
        None,
        ge=0,
        le=1024,
        description="Processes that read images; 0 reads them in the main process. None for 0 on a CPU, and on an "
        "accelerator for all cores but one, at most 8.",
    )
    image_cache_mb: int | None = Field(
        None,
        ge=0,
        description="Memory for training images, where the method adapts the image tower: they are read once and kept "
        "at the size that is needed, as many as fit; others are read in every epoch. None for a quarter of the free "
        "memory.",
    )
    eval_batch_size: int = Field(100, ge=1, le=1_000_000, description="Images per batch in evaluation.")
    class_chunk: int | None = Field(
        None,
        ge=1,
        description="Classes per pass through the text tower. More classes than that are encoded in chunks, "
        "recomputed in the backward pass to save memory. None for as many as fit into a quarter of an accelerator's "
        "memory, or an eighth of the machine's.",
    )
    text_layout: Literal["auto", "packed", "padded"] = Field(
        "auto",
        description="How class names lie in memory in the text tower: packed, without padding, or padded to the length "
        "of the longest, which takes fewer kernels. auto is packed on a CPU and padded on an accelerator.",
    )
    graph: Literal["auto", "off"] = Field(
        "auto",
        description="auto records the training step as a CUDA graph on a single CUDA device, in fp32 and bf16, if it "
        "can be recorded, with the same results; off never does.",
    )
    tensorboard: bool = Field(False, description="Also log every epoch to TensorBoard, in the run's folder.")


class RunConfig(Section):
    """Complete configuration of a run.

    Usually built by `config.resolve.resolve_config`, which starts from a recipe and fills in the method's defaults.

    Examples:
        >>> config = RunConfig(method={"name": "coop", "n_ctx": 4}, data={"source": "openmoji", "shots": 8})
        >>> config.method.options, config.data.shots, config.optim.optimizer
        ({'n_ctx': 4}, 8, 'sgd')
    """

    seed: int = Field(
        1,
        ge=0,
        le=2**63 - 1,
        description="Seed of the drawn shots, the initial prompts, and the order and augmentation of images.",
    )
    protocol: ProtocolName = Field("few-shot", description="Classes to learn, and tests to run.")
    recipe: str | None = Field(
        None,
        description="Name of the recipe that the run started from: paper, unified, a set, or a file's name. Recorded "
        "for tables; not part of the hashes.",
    )
    overrides: dict[str, Any] = Field(
        default={},
        description="Settings that differ from the recipe, by dotted key: options of the method, optim.*, and the "
        "augmentation. Recorded for tables; not part of the hashes.",
    )
    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    method: MethodConfig
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="before")
    @classmethod
    def _epochs_by_shots(cls, values: Any) -> Any:
        """Replace a mapping by the epochs of the largest number of shots in it that the run reaches."""
        match values:
            case {"optim": {"epochs": dict(by_shots)} as optim, "data": dict(data)} if by_shots:
                shots = data.get("shots", DataConfig.model_fields["shots"].default)
                try:
                    shots, epochs = _SHOTS.validate_python(shots), _EPOCHS.validate_python(by_shots)
                except ValidationError:  # reported as an error of the field
                    return values
                reached = [count for count in epochs if count <= shots] or [min(epochs)]
                return {**values, "optim": {**optim, "epochs": epochs[max(reached)]}}
        return values

    def with_backbone_options(self, options: Mapping[str, Any]) -> "RunConfig":
        """Return the configuration with the options that the backbone was loaded with."""
        changes = {**dict.fromkeys(BACKBONE_OPTIONS), **options}
        return self.model_copy(update={"backbone": self.backbone.model_copy(update=changes)})

    def with_template(self, template: str) -> "RunConfig":
        """Return the configuration with the dataset's template, unless the method sets one."""
        options = {"template": template, **self.method.options}
        return self.model_copy(update={"method": MethodConfig(name=self.method.name, **options)})

    def with_min_steps(self, images: int) -> "RunConfig":
        """Return the configuration with enough epochs over `images` training images for `optim.min_steps`."""
        epochs = math.ceil(self.optim.min_steps / steps_per_epoch(images, self.optim.batch_size))
        if epochs <= self.optim.epochs:
            return self
        return self.model_copy(update={"optim": self.optim.model_copy(update={"epochs": epochs})})

    def result_hash(self, weight_hash: str, shots_hash: str, tests: Mapping[str, str] | None = None) -> str:
        """Return a SHA-256 hash of everything that determines the result.

        Runtime settings are excluded, and paths are replaced by hashes of their contents.

        Args:
            weight_hash: hash of the backbone's weights.
            shots_hash: hash of the training images and their classes.
            tests: hash of each test's images and classes, by the test's name.
        """
        content = {"weights": weight_hash, "shots": shots_hash, "tests": dict(tests or {})}
        return _hash({**self._content(), **content})

    def training_hash(self, weight_hash: str, shots_hash: str) -> str:
        """Return a SHA-256 hash of everything that determines the learned prompts.

        Unlike `result_hash` it excludes the protocol and the tests: `shots_hash` covers the training images.
        """
        content = {**self._content(), "weights": weight_hash, "shots": shots_hash}
        del content["protocol"], content["data"]["shots"], content["data"]["split_seed"]
        return _hash(content)

    def _content(self) -> dict[str, Any]:
        unset = (name for name in BACKBONE_OPTIONS if name not in self.backbone.options)
        data = {"source", "targets", "root", "name_map", "exclude"}
        # As in runs from before these were settings.
        data |= {name for name in ("value_range", "view_precision") if getattr(self.data, name) is None}
        return self.model_dump(
            mode="json",
            exclude={
                "recipe": True,
                "overrides": True,
                "runtime": True,
                "backbone": {"source", *unset},
                "data": data,
                "optim": {"min_steps"},  # acts through the number of epochs
            },
        )


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of optimizer steps of an epoch; a smaller last batch is dropped, unless it is the only one."""
    return max(1, images // batch_size)


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def parse_config(values: dict[str, Any]) -> RunConfig:
    """Validate nested settings, except for the method options.

    Raises:
        VLPromptError: a setting is unknown, missing or invalid; the message names it by its dotted key.
    """
    try:
        config = RunConfig(**values)
    except ValidationError as error:
        raise _setting_error(error) from error
    check_storable(config)
    return config


def check_storable(model: BaseModel, section: str = "") -> None:
    """Raise VLPromptError if a record could not hold the values: text that is not Unicode, or enormous numbers."""
    try:
        model.model_dump_json()
    except ValueError as error:
        raise VLPromptError("a name or path in the settings is not UTF-8; rename the file or folder") from error
    _check_sizes(model.model_dump(), section)


def _check_sizes(value: object, place: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_sizes(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_sizes(inner, place)
    elif isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise VLPromptError(f"{place} must be at most {MAX_NUMBER:g} in size, got {value!s:.20}")


def _setting_error(error: ValidationError) -> VLPromptError:
    first = error.errors()[0]
    *sections, key = map(str, first["loc"])
    where = error_location(error)
    if first["type"] == "extra_forbidden":
        known = _known_keys(sections)
        prefix = "".join(f"{section}." for section in sections)
        hint = did_you_mean(key, known).replace("'", f"'{prefix}", 1) or f"known: {', '.join(known)}"
        return VLPromptError(f"unknown setting {where}; {hint}")
    if first["type"] == "missing":
        return VLPromptError(f"setting {where} is missing; add it")
    reason = error_reason(error)
    got = "" if ", got " in reason else f", got {first['input']!r}"
    return VLPromptError(f"{where} {reason}{got}")


def _known_keys(sections: list[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for section in sections:
        annotation = model.model_fields[section].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return [name for name in model.model_fields if name not in RECORDED]
