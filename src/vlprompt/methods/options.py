"""Base classes of method options, and their validation."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from vlprompt.methods.templates import check_templates

# Maximum number of prompt vectors, and rank; more than any tower reads. Bounds the memory for an untrusted record.
MOST = 4096


class Options(BaseModel):
    """Base class of method options. Each field is a keyword of `create_method`.

    A method with further options defines a subclass.

    Examples:
        >>> from pydantic import Field
        >>> class MyOptions(Options):
        ...     weight: float = Field(1.0, ge=0, description="Weight of the second loss term.")
        >>> MyOptions(weight=2).template
        'a photo of a {}.'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    template: str | list[str] = Field(
        "a photo of a {}.",
        description="Hand-crafted prompt with {} for the class name, for methods that use one; a list is an ensemble.",
    )

    @field_validator("template", "templates", mode="before", check_fields=False)
    @classmethod
    def _braces_are_text(cls, value: object) -> object:
        """Read an empty mapping as "{}", which it is in YAML without quotes."""
        if isinstance(value, list):
            return ["{}" if entry == {} else entry for entry in value]
        return "{}" if value == {} else value

    @field_validator("template", "templates", check_fields=False)
    @classmethod
    def _check_templates(cls, value: str | list[str], field: ValidationInfo) -> str | list[str]:
        check_templates([value] if isinstance(value, str) else value, needed=field.field_name == "template")
        return value

    @field_validator("ctx_init", mode="before", check_fields=False)
    @classmethod
    def _none_if_blank(cls, value: object) -> object:
        """Read blank text as None, as in the official implementations."""
        return None if isinstance(value, str) and not value.replace("_", " ").strip() else value

    @field_validator("n_ctx", "n_text", "n_visual", "rank", check_fields=False)
    @classmethod
    def _fits_in_memory(cls, value: int) -> int:
        if value > MOST:
            raise ValueError(f"must be at most {MOST}, got {value}")
        return value

    @property
    def template_list(self) -> list[str]:
        """`template` as a list of one or more sentences."""
        return [self.template] if isinstance(self.template, str) else self.template


class ContextOptions(Options):
    """Options of methods whose context is initialized with "a photo of a", one vector per token."""

    n_ctx: int = Field(4, ge=1, description="Number of context vectors, n. With `ctx_init`, its number of tokens.")
    ctx_init: str | None = Field(
        "a photo of a",
        description="Words whose embeddings initialize the context. None, or `n_ctx` without it: N(0, 0.02^2).",
    )

    @model_validator(mode="before")
    @classmethod
    def _length_without_words(cls, values: Any) -> Any:
        """Drop the default words if a length is given."""
        return {"ctx_init": None, **values} if isinstance(values, dict) and "n_ctx" in values else values


OptionsType = TypeVar("OptionsType", bound=Options)
