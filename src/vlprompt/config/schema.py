"""A run as data: what is tuned, on what, and how. Recipes, `--set` and `run.json` are this, written down."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vlprompt.errors import VLPromptError

# `protocols.protocol.PROTOCOLS` says what they are.
ProtocolName = Literal["few-shot", "base-to-new", "cross-dataset", "domain-generalization"]


class Section(BaseModel):
    """A part of a run: unknown keys are errors, values do not change once they are there."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class BackboneConfig(Section):
    """The frozen dual encoder."""

    source: str = Field("embedded", description="What `load_backbone` takes: a name, an open_clip pair, or a path.")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Type of frozen weights and activations.")


class MethodConfig(BaseModel):
    """The method's name, and its options beside it (`method.beta_text=0.1`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="One of `vlprompt list methods`.")

    @property
    def options(self) -> dict[str, Any]:
        """The options alone."""
        return dict(self.model_extra or {})


class DataConfig(Section):
    """The images, and how many of them are seen how often."""

    source: str = Field(description="A dataset's name, a folder, or a .csv, .parquet or .jsonl file.")
    targets: tuple[str, ...] = Field(
        (), description="Other datasets to test on, for the protocols that do; each as `source`."
    )
    root: str | None = Field(None, description="Folder of the datasets that have a name, or of a .jsonl file's images.")
    shots: int = Field(16, ge=1, description="Training images of each class.")
    split_seed: int = Field(1, description="Seed of the train/val/test split where the source has none.")
    class_names: str | None = Field(None, description="File that maps folder names to words.")
    crop_scale: tuple[float, float] = Field(
        (0.08, 1.0), description="Share of the image's area that a training crop keeps, least and most."
    )
    flip: bool = Field(True, description="Mirror half of the training images.")
    views: int = Field(
        16,
        ge=0,
        description="Augmented views of each image whose frozen features are kept, for methods without visual "
        "prompts; 0: a new view through the image tower in every epoch.",
    )

    @field_validator("source")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        """A folder's own name for `.` and `..`, since runs and tables are called by it."""
        return str(Path(value).resolve()) if value and Path(value).name in ("", "..") else value

    @field_validator("crop_scale")
    @classmethod
    def _bounds(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be two shares with 0 < least <= most <= 1")
        return value


class OptimConfig(Section):
    """Optimizer and schedule; defaults are those of the field's common toolbox."""

    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD, or AdamW with PyTorch's betas.")
    lr: float = Field(0.002, gt=0, description="Learning rate at the start of the cosine.")
    epochs: int = Field(
        50,
        ge=1,
        description="Passes over the shots; the last epoch's prompts are kept. A recipe may give them by shots: "
        "{1: 50, 2: 100, 8: 200} is 100 for 2 to 7 of them.",
    )
    batch_size: int = Field(32, ge=1, description="Images per step. A last, smaller batch is left out.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    eps: float = Field(1e-8, gt=0, description="Of AdamW: what is added to the root of its second moment.")
    weight_decay: float = Field(5e-4, ge=0, description="L2 for SGD, decoupled for AdamW.")
    warmup_epochs: int = Field(1, ge=0, description="First epochs, run at `warmup_lr`.")
    warmup_lr: float = Field(1e-5, gt=0, description="Learning rate of the warm-up.")


class RuntimeConfig(Section):
    """What changes how fast a run is, never what comes out."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    devices: int = Field(1, ge=1, description="How many to train on, each with its share of every batch.")
    threads: int | None = Field(None, ge=1, description="CPU threads; None: PyTorch's default.")
    workers: int = Field(0, ge=0, le=1024, description="Processes that read images; 0: the main one.")
    eval_batch_size: int = Field(100, ge=1, le=1_000_000, description="Images at a time in evaluation.")
    class_chunk: int = Field(
        256, ge=1, description="Classes at a time in the text tower; more classes are computed in chunks, twice."
    )
    tensorboard: bool = Field(False, description="Also write every epoch's numbers for TensorBoard, beside the run.")


class RunConfig(Section):
    """Everything that a run depends on."""

    recipe: str | None = Field(None, description="Name of the recipe that the settings came from.")
    overrides: dict[str, Any] = Field({}, description="Settings that differ from the recipe's, by dotted key.")
    seed: int = Field(1, ge=0, description="Draws the shots, starts the prompts, orders and augments the images.")
    protocol: ProtocolName = Field("few-shot", description="Which classes are learned, and what is tested.")
    backbone: BackboneConfig = BackboneConfig()
    method: MethodConfig
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="before")
    @classmethod
    def _epochs_by_shots(cls, values: Any) -> Any:
        """Where epochs are given by shots, those of the largest number of shots that the run has."""
        match values:
            case {"optim": {"epochs": dict(by_shots)} as optim, "data": dict(data)} if by_shots:
                shots = data.get("shots", DataConfig.model_fields["shots"].default)
                if all(isinstance(count, int) for count in (shots, *by_shots)):
                    reached = [count for count in by_shots if count <= shots] or [min(by_shots)]
                    epochs = by_shots[max(reached)]
                    return {**values, "optim": {**optim, "epochs": epochs}}
        return values

    def with_template(self, template: str) -> "RunConfig":
        """The run with the dataset's template where the method was given none."""
        options = {"template": template, **self.method.options}
        return self.model_copy(update={"method": MethodConfig(name=self.method.name, **options)})

    def result_hash(self, weight_hash: str, shots_hash: str, tests: Mapping[str, str] | None = None) -> str:
        """SHA-256 over all that the result depends on: not runtime, not paths, but what lies behind them.

        Args:
            weight_hash: of the backbone.
            shots_hash: of the images that are learned from, and their classes.
            tests: hash of every test's images and classes, by its name.
        """
        content = {"weights": weight_hash, "shots": shots_hash, "tests": dict(tests or {})}
        return _hash({**self._content(), **content})

    def training_hash(self, weight_hash: str, shots_hash: str) -> str:
        """The same over all that the learned prompts depend on: not the protocol, but the shots that it learns from."""
        content = {**self._content(), "weights": weight_hash, "shots": shots_hash}
        del content["protocol"], content["data"]["shots"], content["data"]["split_seed"]
        return _hash(content)

    def _content(self) -> dict[str, Any]:
        paths = {"source", "targets", "root", "class_names"}
        return self.model_dump(mode="json", exclude={"recipe": True, "overrides": True, "runtime": True, "backbone": {"source"}, "data": paths})


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def parse_config(values: dict[str, Any]) -> RunConfig:
    """The validated run; VLPromptError names the first key that is wrong, and how."""
    from vlprompt.methods.base import method_options

    try:
        if isinstance(method := values.get("method"), dict) and isinstance(method.get("name"), str):
            options = {key: value for key, value in method.items() if key != "name"}
            resolved = method_options(method["name"], options).model_dump()
            kept = {key: value for key, value in resolved.items() if key in options or key != "template"}
            values = {**values, "method": {"name": method["name"], **kept}}
        config = RunConfig(**values)
        config.model_dump_json()  # as a record is, later
        return config
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(_fields(first["loc"][:-1]))
            raise VLPromptError(f"there is no option {key!r}; {_owner(first['loc'])} has: {known}") from error
        if first["type"] == "missing":
            raise VLPromptError(f"option {key!r} is missing; give it with --set {key}=...") from error
        raise VLPromptError(f"{key}={first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise VLPromptError(
            "a name or path in the settings is not UTF-8, and no record could hold it; rename the file or folder"
        ) from error


def _owner(loc: tuple[int | str, ...]) -> str:
    return f"section {loc[0]!r}" if len(loc) > 1 else "a run"


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in loc:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
