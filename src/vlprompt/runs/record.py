"""Record of a run, `run.json`: its configuration and results as one validated document.

Reading a record imports neither torch nor the methods.
"""

import json
import math
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.config.schema import MAX_NUMBER, RunConfig
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write
from vlprompt.utils.strings import describe_validation_error, one_line

PACKAGES = ("vlprompt", "torch", "torchvision", "open_clip_torch", "lightning-fabric")
PREDICTIONS = "predictions.parquet"
TEMPERATURE_LIMIT = 20.0
# Bounds on what is read, since a record may come from anybody: bytes of the file, characters of a text, and counts,
# seconds and percentages.
MAX_BYTES, MAX_TEXT = 64 * 2**20, 10_000
Count: TypeAlias = Annotated[int, Field(ge=0, le=10**15)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=1e10)]
Baseline: TypeAlias = Literal["linear-probe", "zero-shot", "chance"]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100 + 1e-6, allow_inf_nan=False)]


def now() -> str:
    """Return the current time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **_package_versions()}


@cache
def _package_versions() -> dict[str, str]:
    # Kept, since each call parses the packages' metadata, a third of the time of planning a large grid.
    return {package: version(package) for package in PACKAGES}


class MeasuredTest(BaseModel):
    """Metrics of one test; further metrics must be numbers."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float]

    accuracy: Percent
    images: Count
    macro_accuracy: Percent = 0.0
    calibration_error: Percent = 0.0
    calibrated_error: Percent = 0.0
    class_accuracy: dict[str, Percent] = {}


class BackboneRecord(BaseModel):
    """Identity of the frozen weights, and how they were used. Older records lack `function_hash` and `preprocessing`.

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
    embed_dim: Count
    image_size: Count
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
        tested_on: split of the source that was tested; "val" if it had no labeled test split.
        skipped: (path, reason) of each unreadable file.
    """

    hash: str
    pool: str = ""
    content: str = ""
    short: dict[str, Count] = {}
    template: str | None = None
    train: Count
    val: Count
    test: Count
    tested_on: str = "test"
    skipped: list[tuple[str, str]] = []


class EvaluationRecord(BaseModel):
    """Dataset, number of classes and images, and content hash of one test."""

    dataset: str
    hash: str
    classes: Count
    images: Count


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
    images: Count = Field(description="Number of held-out images.")
    loss_before: float
    loss_after: float
    error_before: Percent
    error_after: Percent

    @property
    def summary(self) -> str:
        """The temperature and its effect on the held-out images, as a clause."""
        images = f"{self.images} held-out images"
        if self.temperature == 1:
            return f"1, since {images} are no evidence for another"
        errors = f"{self.error_before:.1f} to {self.error_after:.1f}%"
        return f"{self.temperature:.2f}, fitted on {images}, whose calibration error changes from {errors}"


class Learning(BaseModel):
    """Outcome of a training, measured on the shots under the evaluation transform, compared with the frozen model.

    Losses are mean cross-entropies; guessing has a loss of ln C. Accuracies are percentages.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    steps: Count = Field(description="Number of optimizer steps.")
    images: Count = Field(description="Number of measured shots: all, or an evenly spaced sample of many.")
    classes: Count = Field(ge=1, description="Number of learned classes, C.")
    loss: float
    accuracy: Percent
    zero_shot_loss: float
    zero_shot_accuracy: Percent

    @property
    def guessing(self) -> float:
        """Loss of guessing, ln C."""
        return math.log(self.classes)

    @property
    def summary(self) -> str:
        """Steps, losses and accuracies in one line."""
        return (
            f"{self.steps:,} steps; on the shots loss {self.loss:.2f} (zero-shot {self.zero_shot_loss:.2f}, guessing "
            f"{self.guessing:.2f}), accuracy {self.accuracy:.1f}% (zero-shot {self.zero_shot_accuracy:.1f}%)"
        )

    @property
    def problem(self) -> str | None:
        """Why the training failed, or None if it is better than guessing and zero-shot on the shots."""
        if self.loss > 0.99 * self.guessing:
            return f"hardly better than guessing among {self.classes} classes, ln {self.classes} = {self.guessing:.2f}"
        if self.loss >= self.zero_shot_loss and self.accuracy <= self.zero_shot_accuracy:
            return f"no better than zero-shot, {self.zero_shot_loss:.2f}"
        return None


class Epoch(BaseModel):
    """One epoch of a training history. Losses and accuracy (0 to 1) are means over the epoch's training images.

    Losses are NaN or infinite where training diverged; all other numbers are finite.
    """

    epoch: Count
    lr: float
    accuracy: float = Field(ge=0, le=1)
    losses: dict[str, float]
    seconds: Seconds
    images_per_second: float = Field(ge=0)


class Execution(BaseModel):
    """What a training used where its settings left the choice to it. None of it changes the result but by rounding."""

    text_layout: str = Field(description="Layout of the text tower, packed or padded.")
    readers: Count = Field(description="Processes for reading training images that are not in the cache of features.")
    cached_images: Count = Field(description="Training images that were kept in memory.")
    graph: bool = Field(False, description="Whether steps were recorded as a CUDA graph.")


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
    trainable_parameters: Count
    history: list[Epoch] = []
    metrics: dict[str, Any] = {}
    baselines: dict[Baseline, dict[str, Percent]] = Field(
        default={},
        description="Accuracy in percent of what the method is compared with, by baseline and test; only of runs that "
        "measured it.",
    )
    learning: Learning | None = Field(None, description="Outcome of the training; None if nothing was trained.")
    calibration: Calibration | None = None
    zero_shot_calibration: Calibration | None = Field(
        None, description="Temperature of the frozen model, which the classifier is compared with, by the same rule."
    )
    prompts_hash: str | None = Field(
        None, description="SHA-256 of the prompts file of a saved classifier; None for other runs."
    )
    timings: dict[str, Seconds] = Field(
        default={},
        description="Seconds of preparation, encoding, training, testing and baselines, summed over all sessions.",
    )
    peak_memory_mb: float | None = Field(None, ge=0)
    execution: Execution | None = Field(None, description="None for prompts that this run did not learn on one device.")
    versions: dict[str, str] = Field(default_factory=versions)
    started: str = Field(default_factory=now)
    ended: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_bounded(cls, values: Any) -> Any:
        """Check all numbers and texts, those in free fields included."""
        if isinstance(values, dict):
            for name, value in values.items():
                _check_bounds(value, name)
        return values

    @field_validator("metrics")
    @classmethod
    def _are_metrics(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        """Check that a test maps names to numbers, and that a summary over tests is a percentage."""
        for test, values in metrics.items():
            # A summary is an accuracy only; the model requires a number of images, too.
            found = values if isinstance(values, dict) else {"accuracy": values, "images": 0}
            try:
                MeasuredTest.model_validate(found)
            except ValidationError as error:
                raise ValueError(f"values of {test!r:.40} are wrong ({describe_validation_error(error)})") from error
        return metrics

    @model_validator(mode="after")
    def _are_of_its_tests(self) -> Self:
        """Check that metrics and tests of a finished run are of the same tests, with the same numbers of images."""
        measured = {test: values["images"] for test, values in self.metrics.items() if isinstance(values, dict)}
        listed = {name: test.images for name, test in self.tests.items()}
        for test in measured if self.tests else ():
            if listed.get(test) != measured[test]:
                raise ValueError(f"metrics.{test:.40} must be of one of the run's tests and all of its images")
        for test in listed if self.metrics else ():
            if test not in measured:
                got = f"must be a mapping, got {self.metrics[test]}" if test in self.metrics else "is missing"
                raise ValueError(f"metrics.{test:.40} {got}")
        for test in {name for accuracies in self.baselines.values() for name in accuracies}:
            if test not in listed:
                raise ValueError(f"baselines hold {test:.40}, which is none of the run's tests")
        return self

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


def _check_bounds(value: object, place: str, *, finite: bool = True) -> None:
    """Raise ValueError if nested values hold an enormous number or text; `finite` refuses NaN and infinity, too."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"{place:.40} holds a text of {len(value):,} characters, more than {MAX_TEXT:,}")
    elif isinstance(value, int | float):
        if (finite and value != value) or (abs(value) > MAX_NUMBER and (finite or abs(value) != math.inf)):
            raise ValueError(f"{place:.40} holds a number that is not finite, or above {MAX_NUMBER:g}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_bounds(key, place)
            _check_bounds(inner, place, finite=finite and key != "losses")
    elif isinstance(value, list):
        for inner in value:
            _check_bounds(inner, place, finite=finite)


def read_record(folder: Path) -> RunRecord:
    """Read the record in a run's folder.

    Raises:
        VLPromptError: the record is missing or damaged.
    """
    path = folder / "run.json"
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VLPromptError(f"{folder} is not a run folder: run.json is missing") from error
    except OSError as error:
        raise VLPromptError(f"{path} cannot be read ({error.strerror})") from error
    return parse_record(content, str(path))


def parse_record(content: bytes, path: str) -> RunRecord:
    """Parse the content of a `run.json`.

    Args:
        content: bytes of the file.
        path: path of the file, for the error.

    Raises:
        VLPromptError: the record is damaged, or holds numbers or texts that no run has.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content):,} bytes, more than {MAX_BYTES:,}")
        return RunRecord.model_validate_json(content)
    except ValidationError as error:
        raise VLPromptError(f"{path} cannot be read ({describe_validation_error(error)})") from error
    except (ValueError, RecursionError) as error:
        raise VLPromptError(f"{path} cannot be read ({one_line(error)})") from error


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
