"""Resizing and normalization of a backbone's images, as settings and records hold them; imports no torch."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlprompt.utils.strings import describe_validation_error

# Values of OpenAI's models, open_clip's defaults.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

_Mean: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Std: TypeAlias = Annotated[float, Field(gt=0, le=1)]


class Preprocessing(BaseModel):
    """Resizing and normalization of the images of a backbone, with OpenAI's values as defaults.

    Examples:
        >>> Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)).resize_mode
        'shortest'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: tuple[_Mean, _Mean, _Mean] = Field(OPENAI_MEAN, description="Mean of each channel, for RGB values in [0, 1].")
    std: tuple[_Std, _Std, _Std] = Field(OPENAI_STD, description="Standard deviation of each channel.")
    interpolation: Literal["bicubic", "bilinear", "nearest", "lanczos", "box", "hamming"] = "bicubic"
    resize_mode: Literal["shortest", "squash"] = Field(
        "shortest", description="Resize the shorter side and crop the center, or squash both sides to a square."
    )


def as_preprocessing(value: Any) -> Preprocessing | str:
    """Return a value of the `preprocess` setting: a `Preprocessing`, or the open_clip pair that names one.

    Raises:
        ValueError: the value is neither a pair, nor a mapping of the fields of `Preprocessing`.

    Examples:
        >>> as_preprocessing({"mean": [0.5, 0.5, 0.5]}).mean
        (0.5, 0.5, 0.5)
    """
    if isinstance(value, str | Preprocessing):
        return value
    if not isinstance(value, dict):
        raise ValueError(
            "must be an open_clip pair NAME/TAG, or a mapping of mean, std, interpolation and resize_mode, got "
            f"{value!r:.60}"
        )
    try:
        return Preprocessing(**value)
    except ValidationError as error:
        raise ValueError(f"is not valid ({describe_validation_error(error)})") from error
