"""run.json: what a run was and what came out, as one validated document."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vlprompt.config.schema import RunConfig
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write

if TYPE_CHECKING:
    from vlprompt.backbones.backbone import Backbone

PACKAGES = ("vlprompt", "torch", "torchvision", "open_clip_torch", "lightning-fabric")
PREDICTIONS = "predictions.parquet"
TEMPERATURE_LIMIT = 20.0
LARGE = 1e300  # whole numbers have no end, but cannot be shown beyond a float's


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


class BackboneRecord(BaseModel):
    """Which weights were frozen underneath."""

    name: str
    weight_hash: str
    embed_dim: int
    image_size: int

    @classmethod
    def of(cls, backbone: "Backbone") -> "BackboneRecord":
        """That of a loaded backbone."""
        return cls(
            name=backbone.name,
            weight_hash=backbone.weight_hash,
            embed_dim=backbone.embed_dim,
            image_size=backbone.image_size,
        )


class SplitRecord(BaseModel):
    """Which images were used: the hash of the drawn split, the number in each part, and what could not be read.

    `pool` is the hash of all images that shots are drawn from; other seeds and shots have the same. Both are of paths;
    `content` is of the learned images themselves, as in the run's `split.jsonl`. `short` has the classes with fewer
    images than shots were asked for, and how many. `template` is the dataset's own, which the method's may differ from.
    """

    hash: str
    pool: str = ""
    content: str = ""
    short: dict[str, int] = {}
    template: str | None = None
    train: int
    val: int
    test: int
    skipped: list[tuple[str, str]] = []


class EvaluationRecord(BaseModel):
    """What was tested: the dataset's name, the hash of its images and of the competing classes, and their numbers."""

    dataset: str
    hash: str
    classes: int
    images: int


class Calibration(BaseModel):
    """A temperature, and what it does to the images it was fitted on. Errors are expected calibration errors in %."""

    model_config = ConfigDict(allow_inf_nan=False)

    temperature: float = Field(
        ge=1 / TEMPERATURE_LIMIT,
        le=TEMPERATURE_LIMIT,
        description="What logits are divided by; above 1, the method was too sure of itself.",
    )
    images: int = Field(ge=0, description="Held-out shots.")
    loss_before: float = Field(description="Their mean cross-entropy without it.")
    loss_after: float
    error_before: float
    error_after: float


class Epoch(BaseModel):
    """One line of a run's history. Losses and accuracy are means over the epoch's training images."""

    epoch: int
    lr: float
    accuracy: float
    losses: dict[str, float]
    seconds: float
    images_per_second: float


class RunRecord(BaseModel):
    """A run's record. Only a finished one holds metrics, and one that a classifier saved, from its run; an imported one
    has prompts from elsewhere, and a planned one is a cell of a grid that has not begun.
    """

    status: Literal["planned", "running", "interrupted", "finished", "imported", "saved"] = "running"
    config: RunConfig
    result_hash: str
    training_hash: str = Field("", description="Runs that have the same have learned the same prompts.")
    prompts_from: str | None = Field(
        None, description="The run that learned the prompts, seen from this one's folder; None: this one did."
    )
    backbone: BackboneRecord
    class_names: list[str]
    classes_now: list[str] | None = Field(
        None, description="The classes that a saved classifier names; None: those of `class_names`."
    )
    split: SplitRecord
    tests: dict[str, EvaluationRecord] = {}
    trainable_parameters: int
    history: list[Epoch] = []
    metrics: dict[str, Any] = {}
    calibration: Calibration | None = None
    prompts_hash: str | None = Field(
        None, description="SHA-256 of the file of prompts that a classifier saved with it; None: a run's own."
    )
    timings: dict[str, float] = Field(default={}, description="Seconds of prepare, train and test, over all sessions.")
    peak_memory_mb: float | None = None
    versions: dict[str, str] = Field(default_factory=versions)
    started: str = Field(default_factory=now)
    ended: str | None = None

    @field_validator("metrics")
    @classmethod
    def _are_numbers(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        """Refuse what cannot be shown: a test's metrics are numbers by name, what is made of several tests is one."""
        for test, values in metrics.items():
            found = dict(values) if isinstance(values, dict) else {"accuracy": values, "images": 0}
            by_class = found.pop("class_accuracy", {})
            if not isinstance(by_class, dict) or not all(map(_is_number, [*found.values(), *by_class.values()])):
                raise ValueError(f"{test!r:.40} holds what is no number")
            if not {"accuracy", "images"} <= found.keys():
                raise ValueError(f"{test!r:.40} lacks accuracy or images")
        return metrics

    @property
    def has_data(self) -> bool:
        """Whether it was run where it is, on data that it names, and not brought from elsewhere."""
        return self.status not in ("imported", "saved")

    @property
    def training_seconds(self) -> float:
        """Seconds of preparing and training."""
        return sum(self.timings.get(part, 0.0) for part in ("prepare", "train"))

    def write(self, folder: Path) -> None:
        """Write `run.json` into the run's folder, a field a line."""
        fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.model_dump(mode="json").items()]
        atomic_write(folder / "run.json", "{" + ",\n ".join(fields) + "}\n")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= LARGE


def read_record(folder: Path) -> RunRecord:
    """The record of a run's folder. VLPromptError if there is none, or not one that this version reads."""
    path = folder / "run.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VLPromptError(f"{folder} is not a run: it has no run.json; make one with `vlprompt tune`") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise VLPromptError(f"{path} cannot be read ({where}: {error.errors()[0]['msg']})") from error
    except VLPromptError as error:  # of the method, or of its options
        raise VLPromptError(f"{path} cannot be read ({error})") from error
    except OSError as error:
        raise VLPromptError(f"{path} cannot be read ({error.strerror})") from error


def read_records(folder: Path) -> tuple[dict[Path, RunRecord], list[str]]:
    """The records of all runs at any depth of a folder, by their folders; and a line for each that cannot be read."""
    records, problems = {}, []
    for path in sorted(folder.rglob("run.json")):
        try:
            records[path.parent] = read_record(path.parent)
        except VLPromptError as error:
            problems.append(str(error))
    return records, problems
