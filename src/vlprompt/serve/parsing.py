"""Bodies of requests, read as what they ask."""

import base64
import binascii
import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vlprompt.data.class_names import as_words
from vlprompt.errors import VLPromptError
from vlprompt.serve.limits import EXTRA_CLASSES, IMAGES, NAME_LENGTH, NEW_CLASSES, TOP
from vlprompt.serve.schemas import Problem

CURL = "with curl: -F image=@FILE"
FORM, JSON = "multipart/form-data", "application/json"
# Most fields of a form, and most bytes of one that is no picture.
FIELDS, FIELD_BYTES = IMAGES + EXTRA_CLASSES + 8, 8 * NAME_LENGTH
# Most of them that any body needs. Validation takes a while to say that millions of values are too many.
COMMAS = (NEW_CLASSES + 1) * NAME_LENGTH
# Invisible, but part of words in some scripts, and of emoji: zero width non-joiner and joiner.
JOINERS = "\u200c\u200d"


def _word(name: str) -> str:
    """A class name as words, composed, so that the same one always is the same."""
    read = html.unescape(html.unescape(name))  # as CLIP's tokenizer does
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in read if letter not in JOINERS):
        raise ValueError("a class name has no control characters, and no invisible ones")
    if not any(letter.isprintable() and not letter.isspace() for letter in read):
        raise ValueError("a class name has letters")
    try:
        return as_words([unicodedata.normalize("NFC", name)])[0]
    except VLPromptError as error:
        raise ValueError("a class name has letters") from error


ClassName = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH), AfterValidator(_word)]


class Wishes(BaseModel):
    """What a prediction may say besides its pictures."""

    model_config = ConfigDict(extra="forbid")

    classes: list[ClassName] = Field(
        [],
        max_length=EXTRA_CLASSES,
        description="Classes, by their names, that compete in this request beside the server's.",
    )
    top: int = Field(5, ge=1, le=TOP, description="How many classes to name of each picture, besides `classes`.")
    compare: StrictBool = Field(False, description="Whether to rank the classes by the frozen model, too.")


class Encoded(Wishes):
    """Pictures as base64, with wishes."""

    image: str | Annotated[list[str], Field(min_length=1, max_length=IMAGES)] = Field(
        description=f"A picture's file as base64 or as a data: URL, or a list of up to {IMAGES}."
    )


class NewClasses(BaseModel):
    """Classes to add."""

    model_config = ConfigDict(extra="forbid")

    names: list[ClassName] = Field(
        min_length=1,
        max_length=NEW_CLASSES,
        json_schema_extra={"uniqueItems": True},
        description=f"Up to {NEW_CLASSES} classes.",
    )


@dataclass(frozen=True)
class Asked:
    """A prediction that is asked for: files of pictures, None where one is not base64, and wishes."""

    images: Sequence[bytes | None]
    wishes: Wishes


def read_question(content_type: str, body: bytes) -> Asked:
    """What a request for a prediction asks. Problem where it cannot be told."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        asked = parse_json(Encoded, body)
        images = [asked.image] if isinstance(asked.image, str) else asked.image
        return Asked([_decoded(image) for image in images], asked)
    if kind == FORM:
        form = _Form(content_type, body)
        return Asked(form.images, _wishes(form.values))
    raise Problem(415, f"send {FORM} with a file as `image`, or {JSON} with base64 as `image`")


Model = TypeVar("Model", bound=BaseModel)


def parse_json(model: type[Model], body: bytes) -> Model:
    """A body as JSON. Problem, 400 where it is none and 422 where it is another, without a word of it."""
    if body.count(b",") > COMMAS:
        raise Problem(422, "the body has too many values")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise Problem(400, "the body is not JSON") from error
        raise Problem(422, _first(error, model)) from error


def _wishes(values: dict[str, Any]) -> Wishes:
    try:
        return Wishes.model_validate(values)
    except ValidationError as error:
        raise Problem(422, _first(error, Encoded)) from error


def _first(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that is wrong: where, and what."""
    first = error.errors()[0]
    if not first["loc"]:
        return "the body is a JSON object, {...}"
    if first["loc"][0] == "image" and len(first["loc"]) > 1:  # pydantic speaks of one of its two types only
        return f"image: send base64 as text, or a list of 1 to {IMAGES} of them"
    where = ".".join(part if isinstance(part, str) else str(part + 1) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"there is a field that is not known; known ones: {', '.join(sorted(model.model_fields))}"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def _decoded(text: str) -> bytes | None:
    """Bytes of base64, which may have line breaks and may be a data: URL; None where it is none."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        return None


class _Form:
    """Files and values of a multipart form. Problem where it is broken, or has too much."""

    def __init__(self, content_type: str, body: bytes) -> None:
        self.images: list[bytes] = []
        self.values: dict[str, Any] = {}
        self._parts = 0
        self._complete = False
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(400, "the form's Content-Type has no boundary; let your client write that header")
        parser_calls = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._more,
            "on_part_end": self._end,
            "on_end": self._complete_form,
        }
        try:
            parser = MultipartParser(boundary, parser_calls)  # type: ignore[arg-type]
            parser.write(body)
            parser.finalize()
        except FormParserError as error:
            raise Problem(400, "the form is broken") from error
        if not self._complete:
            raise Problem(400, "the form ends too early")
        if not self.images:
            raise Problem(422, f"the form has no file called `image`; {CURL}")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > FIELDS:
            raise Problem(422, f"the form has more than {FIELDS} parts")
        self._name, self._value, self._disposition = b"", b"", b""
        self._data: list[bytes] = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name, data = options.get(b"name", b"").decode("utf-8", "replace"), b"".join(self._data)
        if name == "image":
            if len(self.images) == IMAGES:
                raise Problem(422, f"a request has at most {IMAGES} images; send several")
            self.images.append(data)
            return
        if len(data) > FIELD_BYTES:
            raise Problem(422, f"a field that is not called `image` has at most {FIELD_BYTES} bytes; {CURL}")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise Problem(422, f"a field that is not called `image` is text in UTF-8; {CURL}") from error
        if name == "classes":
            self.values.setdefault(name, []).append(text)
        elif name == "compare":
            self.values[name] = {"true": True, "false": False}.get(text, text)
        else:
            self.values[name] = text

    def _complete_form(self) -> None:
        self._complete = True
