"""Lists, hints and errors as messages show them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vlprompt.utils.strings import (
    csv_cell,
    describe_validation_error,
    did_you_mean,
    first_line,
    listed,
    markdown_code,
    markdown_row,
    markdown_text,
    printable,
    visible,
)


@pytest.mark.parametrize(("count", "text"), [
    (0, ""), (1, "'0'"), (2, "'0', '1'"), (5, "'0', '1', '2', '3', '4'"), (7, "'0', '1', '2', '3', '4' and 2 more"),
])  # fmt: skip
def test_listed(count: int, text: str) -> None:
    assert listed(range(count)) == text


def test_did_you_mean_ignores_case() -> None:
    assert did_you_mean("COPO", ["CoOp", "maple"]) == "did you mean 'CoOp'?"
    assert did_you_mean("imagenet", ["ImageNet"]) == "did you mean 'ImageNet'?"
    assert did_you_mean("resnet", ["coop", "maple"]) == ""


def test_printable_paths() -> None:
    assert printable(Path("a\udcff")) == "a\\udcff"
    assert visible("a\x1b[2J\nb") == "a\\x1b[2J\\nb"


@pytest.mark.parametrize(("error", "text"), [
    (ValueError("one\ntwo"), "one"), (KeyError(), "KeyError"), (ValueError("x" * 300), "x" * 200),
    (ValueError("Weights only load failed.\nWeightsUnpickler error: Unsupported\nmore"), "Unsupported"),
])  # fmt: skip
def test_first_line_of_other_libraries_errors(error: Exception, text: str) -> None:
    assert first_line(error) == text


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-x.png", "=cmd|' /C calc'!A0"])
def test_formulas_in_csv(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "-", "cat", "-0.5", "+1.2e-3", "-3 %", "a=b", "1", -1, 2.5, None])
def test_other_values_in_csv(value: object) -> None:
    assert csv_cell(value) == value


@pytest.mark.parametrize(("text", "markdown"), [
    ("fgvc_aircraft", "fgvc_aircraft"), ("_a_ *b*", r"\_a\_ \*b\*"), ("<img src=x>", r"\<img src=x>"), ("a\nb", "a b"),
    ("[a](http://x)", r"[a\](http://x)"), ("[a]: x", r"[a\]: x"), ("`a`", r"\`a\`"), ("&lt;", r"\&lt;"),
    ("a\\", r"a\\"), ("71.2 ± 0.3 [70.1, 72.3]", "71.2 ± 0.3 [70.1, 72.3]"),
])  # fmt: skip
def test_markdown_text(text: str, markdown: str) -> None:
    assert markdown_text(text) == markdown


def test_markdown_code_and_rows() -> None:
    assert [markdown_code(text) for text in ("a", "a`b", "`", "a\nb")] == ["`a`", "``a`b``", "`` ` ``", "`a b`"]
    assert markdown_row(["a|b", r"c\|d"]) == r"| a\|b | c\\|d |"


class Inner(BaseModel):
    lr: float = Field(1.0, gt=0, allow_inf_nan=False)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(1, ge=1, le=10)
    optim: Inner = Inner()
    flip: bool = True
    kind: Literal["a", "b"] = "a"
    names: list[str] = Field(["x"], min_length=1)
    ratio: tuple[float, float] = (0.0, 1.0)
    template: str | list[str] = "x"
    seeds: int | Sequence[int] = 1

    @field_validator("kind")
    @classmethod
    def _check(cls, kind: str) -> str:
        if kind == "b":
            raise ValueError("must be 'a' on Sundays")
        return kind


@pytest.mark.parametrize(("values", "text"), [
    ({"epochs": 0}, "epochs: must be at least 1, got 0"),
    ({"epochs": 11}, "epochs: must be at most 10, got 11"),
    ({"epochs": 1.5}, "epochs: must be an integer, got 1.5"),
    ({"epochs": "x" * 100}, f"epochs: must be an integer, got '{'x' * 58}…"),
    ({"optim": {"lr": -1}}, "optim.lr: must be greater than 0, got -1"),
    ({"optim": {"lr": "nan"}}, "optim.lr: must be a finite number, got 'nan'"),
    ({"optim": 1}, "optim: must be a mapping, got 1"),
    ({"flip": "perhaps"}, "flip: must be true or false, got 'perhaps'"),
    ({"kind": "c"}, "kind: must be 'a' or 'b', got 'c'"),
    ({"kind": "b"}, "kind: must be 'a' on Sundays"),
    ({"names": []}, "names: must not be empty, got []"),
    ({"names": ["a", 2]}, "names.1: must be text, got 2"),
    ({"ratio": [1]}, "ratio.1 is missing"),
    ({"template": 3}, "template: must be text or a list, got 3"),
    ({"other": 3}, "other is unknown"),
])  # fmt: skip
def test_describe_validation_error(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Model(**values)
    assert describe_validation_error(caught.value) == text
    quiet = describe_validation_error(caught.value, quote_input=False)
    assert quiet == text.partition(", got ")[0]


def test_invalid_json_has_no_location() -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json("{1")
    assert describe_validation_error(caught.value).startswith("must be JSON (")
