"""Parse request bodies into typed requests, and the files in them into pixels."""

import asyncio
import base64
import binascii
import html
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.data.class_names import JOINERS, as_words
from vlprompt.data.images import ImageError
from vlprompt.errors import VLPromptError
from vlprompt.serve.limits import EXTRA_CLASSES, FIELD_BYTES, FIELDS, IMAGES, NAME_LENGTH, NEW_CLASSES, TOP
from vlprompt.serve.schemas import Problem
from vlprompt.utils.strings import error_reason, visible

CURL = "with curl: -F image=@FILE"
FORM, JSON = "multipart/form-data", "application/json"
# Upper bound on the commas of a valid body. Checked first, since validating millions of values takes long.
COMMAS = (NEW_CLASSES + 1) * NAME_LENGTH
# Bytes of a form that are parsed before other requests get a turn; 20 MB take 40 ms on a 2-core build machine.
CHUNK = 2**20


def _class_name(name: str) -> str:
    """Normalize a class name to words in Unicode's composed form, so that equal names have equal characters."""
    visible = html.unescape(html.unescape(name))  # as CLIP's tokenizer does
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in visible if letter not in JOINERS):
        raise ValueError("a class name must not contain control or invisible characters")
    if not any(letter.isprintable() and not letter.isspace() for letter in visible):
        raise ValueError("a class name must contain letters")
    try:
        return as_words([unicodedata.normalize("NFC", name)])[0]
    except VLPromptError as error:
        raise ValueError("a class name must contain letters") from error


ClassName = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH), AfterValidator(_class_name)]


class PredictOptions(BaseModel):
    """Options of a prediction."""

    model_config = ConfigDict(extra="forbid")

    classes: list[ClassName] = Field(
        [],
        max_length=EXTRA_CLASSES,
        description="Names of additional classes that compete in this request only.",
    )
    top: int = Field(5, ge=1, le=TOP, description="Number of classes to return per image, in addition to `classes`.")
    compare: StrictBool = Field(False, description="Also rank the classes with the frozen model (zero-shot).")


class PredictBody(PredictOptions):
    """Images as base64, with options."""

    image: str | Annotated[list[str], Field(min_length=1, max_length=IMAGES)] = Field(
        description=f"An image file as base64 or as data: URL, or a list of up to {IMAGES}."
    )


class AddClassesBody(BaseModel):
    """Classes to add for all users."""

    model_config = ConfigDict(extra="forbid")

    names: list[ClassName] = Field(
        min_length=1,
        max_length=NEW_CLASSES,
        json_schema_extra={"uniqueItems": True},
        description=f"Up to {NEW_CLASSES} class names.",
    )


@dataclass(frozen=True)
class PredictRequest:
    """Parsed request for predictions.

    Attributes:
        images: contents of the image files; None for an image that is not valid base64.
        options: options that apply to all images.
    """

    images: Sequence[bytes | None]
    options: PredictOptions


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type header, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


Model = TypeVar("Model", bound=BaseModel)


def parse_json(model: type[Model], body: bytes) -> Model:
    """Parse a JSON body.

    Raises:
        Problem: 400 if it is not JSON, 422 if it does not fit the model; the message never quotes the body.
    """
    if body.count(b",") > COMMAS:
        raise Problem(422, "the body has too many values")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise Problem(400, "the body is not JSON") from error
        raise Problem(422, _reason(error, model)) from error


def parse_predict_json(body: bytes) -> PredictRequest:
    """Parse a JSON request for predictions.

    Raises:
        Problem: as `parse_json`.
    """
    parsed = parse_json(PredictBody, body)
    images = [parsed.image] if isinstance(parsed.image, str) else parsed.image
    return PredictRequest([_decoded(image) for image in images], parsed)


async def parse_predict_form(content_type: str, body: bytes) -> PredictRequest:
    """Parse a form with image files and options.

    Raises:
        Problem: 400 if it is broken or exceeds the parser's limits, 422 if its values are wrong.
    """
    form = await _parse_form(content_type, body)
    files = form.getlist("image")
    if not files:
        raise Problem(422, f"the form has no file `image`; {CURL}")
    if len(files) > IMAGES:
        raise Problem(422, f"a request takes at most {IMAGES} images; send several requests")
    values: dict[str, Any] = {name: form[name] for name in form if name not in ("image", "classes")}
    if classes := form.getlist("classes"):
        values["classes"] = classes
    if any(isinstance(file, str) for file in files):
        raise Problem(422, f"image: must be a file, not text; {CURL}")
    if "compare" in values:
        values["compare"] = {"true": True, "false": False}.get(values["compare"], values["compare"])
    try:
        options = PredictOptions.model_validate(values)
    except ValidationError as error:
        raise Problem(422, _reason(error, PredictBody)) from error
    return PredictRequest([await file.read() for file in files if isinstance(file, UploadFile)], options)


class _FormParser(MultiPartParser):
    """Starlette's form parser, which also detects truncated forms and keeps files in memory."""

    # Never roll over to disk: `Limits.request_bytes` bounds the whole body, and images must not be stored.
    spool_max_size = 0
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _parse_form(content_type: str, body: bytes) -> FormData:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), CHUNK):
            yield body[start : start + CHUNK]
            await asyncio.sleep(0)  # let other requests proceed

    parser = _FormParser(
        Headers({"content-type": content_type}),
        chunks(),
        max_files=FIELDS,
        max_fields=FIELDS,
        max_part_size=FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message.rstrip('.')}; {CURL}") from error
    except FormParserError as error:  # older releases of Starlette let it through
        raise Problem(400, "the form cannot be read: Invalid multipart data") from error
    if not parser.complete:
        raise Problem(400, "the form ends too early")
    return form


def _reason(error: ValidationError, model: type[BaseModel]) -> str:
    """Return where the first problem is and what is expected, without quoting the input."""
    first = error.errors()[0]
    if not first["loc"]:
        return "the body must be a JSON object, {...}"
    if first["loc"][0] == "image" and len(first["loc"]) > 1:  # pydantic's message covers only one of the two types
        return f"image: must be base64 as text, or a list of 1 to {IMAGES}"
    if first["type"] == "extra_forbidden":
        return f"unknown field; the fields are {', '.join(sorted(model.model_fields))}"
    where = visible(".".join(part if isinstance(part, str) else str(part + 1) for part in first["loc"]))
    return f"{where}: {error_reason(error, quote_input=False)}"


def _decoded(text: str) -> bytes | None:
    """Decode base64, with or without line breaks, or a data: URL; return None if it is invalid."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        return None


def parse_image(data: bytes | None, classifier: Classifier, max_pixels: int) -> Tensor:
    """Decode and preprocess an image file into pixels (3, S, S); None stands for invalid base64.

    Raises:
        ImageError: it cannot be read, or is larger than `max_pixels` allows, see `read_image`.
    """
    if data is None:
        raise ImageError("not base64")
    if not data:
        raise ImageError("the file is empty")
    return classifier.pixels(BytesIO(data), max_pixels=max_pixels)
