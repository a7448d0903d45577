"""Limits of a single request and of the server."""

from pydantic import BaseModel, ConfigDict, Field

# Limits of one request.
IMAGES = 16
EXTRA_CLASSES = 20
NEW_CLASSES = 256
TOP = 100
NAME_LENGTH = 100
# Limits of a form: number of fields of either kind, and bytes of a field that is not a file.
FIELDS = IMAGES + EXTRA_CLASSES + 8
FIELD_BYTES = 1024
# Limits of the server: classes for all users, and cached classes of single requests.
CLASSES = 10_000
CACHED_CLASSES = 256


class Limits(BaseModel):
    """Configurable limits of the server."""

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
        description="Seconds for a body to arrive, again for its response, and again for the client to read it. A "
        "request that would wait for half of that is refused at once.",
    )
    request_bytes: int = Field(20_000_000, ge=1, description="Maximum size of a request body.")
    pixels: int = Field(50_000_000, ge=1, description="Maximum number of pixels of an image, by its header.")

    @property
    def grace(self) -> float:
        """Seconds from the signal to stop until open connections are aborted; by then every request has a response."""
        return 2 * self.timeout + 1
