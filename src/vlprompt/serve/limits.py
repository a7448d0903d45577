"""What a request may ask for, and what all of them together may take."""

from pydantic import BaseModel, ConfigDict, Field

# Of one request.
IMAGES = 16
EXTRA_CLASSES = 20
NEW_CLASSES = 256
TOP = 100
NAME_LENGTH = 100
# Of the server: classes that it names, and features of others' extra classes that it keeps.
CLASSES = 10_000
REMEMBERED = 256


class Limits(BaseModel):
    """Limits that options of `vlprompt serve` set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(16, ge=1, description="Most pictures that the model sees at a time; 1: one by one.")
    queue: int = Field(
        64,
        ge=1,
        description="Most predictions inside; a slow model takes fewer, see `timeout`.",
    )
    timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds that a body may take to arrive, and again its answer. A request that would wait half of "
        "that for those before it is refused at once.",
    )
    request_bytes: int = Field(20_000_000, ge=1, description="Of a request's body.")
    pixels: int = Field(50_000_000, ge=1, description="Of one picture, by its header.")
