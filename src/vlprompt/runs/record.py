"""Record of a run, `run.json`: its configuration and results as one validated document.

Reading a record imports neither torch nor the methods.
"""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.config.schema import RunConfig
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write
from vlprompt.utils.strings import describe_validation_error

PACKAGES = ("vlprompt", "torch", "torchvision", "open_clip_torch", "lightning-fabric")
PREDICTIONS = "predictions.parquet"
TEMPERATURE_LIMIT = 20.0
LARGE = 1e300  # JSON integers are unbounded, but those beyond the range of a float cannot be formatted


def now() -> str:
    """Return the current time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


class BackboneRecord(BaseModel):
    """Identity of the frozen weights, and how they were used. Older records lack the last two.

    Attributes:
        name: short identity of the backbone.
        weight_hash: hash of its weights.
        embed_dim: dimension of its features.
        image_size: side of its images in pixels.
        function_hash: hash of its weights, heads, activations and epsilons.
        preprocessing: resizing and normalization of its images.
    """

    name: str
    weight_hash: str
    embed_dim: int
    image_size: int
    function_hash: str = ""
    preprocessing: Preprocessing | None = None


class SplitRecord(BaseModel):
    """Split of a run: hashes and numbers of its images.

    Attributes:
        hash: hash of the drawn split, by paths.
        pool: hash of all images that shots are drawn from, by paths; the same for all seeds and shots.
        content: hash of the training images themselves, as listed in the run's `split.jsonl`.
        short: number of training images of each class that has fewer than the requested shots.
        template: default template of the dataset.
        train: number of training images.
        val: number of validation images.
        test: number of test images.
        skipped: (path, reason) of each unreadable file.
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
    """Dataset, number of classes and images, and content hash of one test."""

    dataset: str
    hash: str
    classes: int
    images: int


class Calibration(BaseModel):
    """Fitted temperature, and its effect on the held-out images.

    Losses are mean cross-entropies, errors are expected calibration errors in percent.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    temperature: float = Field(
        ge=1 / TEMPERATURE_LIMIT,
        le=TEMPERATURE_LIMIT,
        description="Divisor of the logits; a value above 1 means that the method was overconfident.",
    )
    images: int = Field(ge=0, description="Number of held-out images.")
    loss_before: float
    loss_after: float
    error_before: float
    error_after: float


class Epoch(BaseModel):
    """One epoch of a training history. Losses and accuracy (0 to 1) are means over the epoch's training images."""

    epoch: int
    lr: float
    accuracy: float
    losses: dict[str, float]
    seconds: float
    images_per_second: float


class RunRecord(BaseModel):
    """Record of a run: its configuration, the identity of its weights and images, and its results.

    `status` is "planned" for a grid's cell that has not started; "running", "interrupted" or "finished" for a run;
    "imported" for prompts that another program learned; "saved" for a classifier. Only finished runs, and classifiers
    saved from them, have metrics.
    """

    status: Literal["planned", "running", "interrupted", "finished", "imported", "saved"] = "running"
    config: RunConfig
    result_hash: str
    training_hash: str = Field("", description="Equal for runs that learn the same prompts.")
    prompts_from: str | None = Field(
        None, description="Folder of the run that learned the prompts, relative to this one; None if this run did."
    )
    backbone: BackboneRecord
    class_names: list[str]
    classes_now: list[str] | None = Field(
        None, description="Current classes of a saved classifier; None if they are still `class_names`."
    )
    split: SplitRecord
    tests: dict[str, EvaluationRecord] = {}
    trainable_parameters: int
    history: list[Epoch] = []
    metrics: dict[str, Any] = {}
    calibration: Calibration | None = None
    prompts_hash: str | None = Field(
        None, description="SHA-256 of the prompts file of a saved classifier; None for other runs."
    )
    timings: dict[str, float] = Field(
        default={}, description="Seconds of preparation, training and testing, summed over all sessions."
    )
    peak_memory_mb: float | None = None
    versions: dict[str, str] = Field(default_factory=versions)
    started: str = Field(default_factory=now)
    ended: str | None = None

    @field_validator("metrics")
    @classmethod
    def _are_numbers(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        """Check that a test maps names to numbers, and that a summary over tests is one number."""
        for test, values in metrics.items():
            found = dict(values) if isinstance(values, dict) else {"accuracy": values, "images": 0}
            by_class = found.pop("class_accuracy", {})
            if not isinstance(by_class, dict) or not all(map(_is_number, [*found.values(), *by_class.values()])):
                raise ValueError(f"values of {test!r:.40} must be numbers")
            if not {"accuracy", "images"} <= found.keys():
                raise ValueError(f"values of {test!r:.40} must include accuracy and images")
        return metrics

    @property
    def has_data(self) -> bool:
        """Whether the configuration names the data of the run; not so for imported and saved ones."""
        return self.status not in ("imported", "saved")

    @property
    def training_seconds(self) -> float:
        """Seconds of preparation and training."""
        return sum(self.timings.get(part, 0.0) for part in ("prepare", "train"))

    def write(self, folder: Path) -> None:
        """Write `run.json` into the run's folder, one field per line."""
        fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.model_dump(mode="json").items()]
        atomic_write(folder / "run.json", "{" + ",\n ".join(fields) + "}\n")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= LARGE


def read_record(folder: Path) -> RunRecord:
    """Read the record in a run's folder.

    Raises:
        VLPromptError: the record is missing or damaged.
    """
    path = folder / "run.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VLPromptError(f"{folder} is not a run folder: run.json is missing") from error
    except ValidationError as error:
        raise VLPromptError(f"{path} cannot be read ({describe_validation_error(error)})") from error
    except OSError as error:
        raise VLPromptError(f"{path} cannot be read ({error.strerror})") from error


def read_records(folder: Path) -> tuple[dict[Path, RunRecord], list[str]]:
    """Read all records at any depth of a folder.

    Returns:
        the records by the run's folder, and a message for each that cannot be read.
    """
    records, problems = {}, []
    for path in sorted(folder.rglob("run.json")):
        try:
            records[path.parent] = read_record(path.parent)
        except VLPromptError as error:
            problems.append(str(error))
    return records, problems
