"""Limits of a request, and of all requests together."""

from pydantic import BaseModel, ConfigDict, Field

# Of one request.
IMAGES = 16
EXTRA_CLASSES = 20
NEW_CLASSES = 256
TOP = 100
NAME_LENGTH = 100
# Of a form: files or other fields, and bytes of a field that is not a file.
FIELDS = IMAGES + EXTRA_CLASSES + 8
FIELD_BYTES = 1024
# Of the server: classes for all users, and cached features of single requests' classes.
CLASSES = 10_000
CACHED_CLASSES = 256


class Limits(BaseModel):
    """Limits that the server's options set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(16, ge=1, description="Maximum number of images per forward pass.")
    queue: int = Field(
        64,
        ge=1,
        description="Maximum number of predictions in flight; a slow model takes fewer, see `timeout`.",
    )
    timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds for a body to arrive, and again for its response. A request that would wait for half of "
        "that is refused at once.",
    )
    request_bytes: int = Field(20_000_000, ge=1, description="Maximum size of a request body.")
    pixels: int = Field(50_000_000, ge=1, description="Maximum number of pixels of an image, by its header.")
