"""Response models of the service, which its OpenAPI document describes."""

from typing import Self

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from vlprompt.serve.model_thread import Answer, Ranking


class Problem(Exception):
    """Error response: HTTP status, message for the user, and headers."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    @property
    def response(self) -> JSONResponse:
        """The response to send."""
        return JSONResponse(Refusal(error=self.message).model_dump(), self.status, self.headers)


class Refusal(BaseModel):
    """Error response."""

    error: str = Field(description="The reason, as a sentence.")


class Ranked(BaseModel):
    """Class with its probability and rank."""

    label: str = Field(description="Name of the class.")
    probability: float = Field(ge=0, le=1, description="Its probability among all competing classes.")
    rank: int = Field(ge=1, description="Its rank among all competing classes.")


class Ranks(BaseModel):
    """Most likely classes of an image."""

    label: str = Field(description="The most likely class.")
    probability: float = Field(ge=0, le=1, description="Its probability.")
    top: list[Ranked] = Field(description="The most likely classes and the request's `classes`, in descending order.")

    @classmethod
    def of(cls, ranking: Ranking) -> Self:
        """Create from (class, probability, rank) triples."""
        ranked = [Ranked(label=label, probability=share, rank=rank) for label, share, rank in ranking]
        return cls(label=ranked[0].label, probability=ranked[0].probability, top=ranked)


class Predicted(Ranks):
    """Prediction for one image."""

    zero_shot: Ranks | None = Field(
        None, description="With `compare`: the prediction of the frozen model with a hand-crafted prompt."
    )

    @classmethod
    def from_answer(cls, answer: Answer) -> Self:
        """Create from the model's answer."""
        zero_shot = None if answer.zero_shot is None else Ranks.of(answer.zero_shot)
        return cls(**Ranks.of(answer.tuned).model_dump(), zero_shot=zero_shot)


class Unreadable(BaseModel):
    """Error in place of a prediction, for an image that cannot be read."""

    error: str = Field(description="The reason.")


class PredictResponse(BaseModel):
    """Predictions for the images of a request."""

    results: list[Predicted | Unreadable] = Field(description="One result per image, in order.")
    milliseconds: float = Field(description="Time from the last byte of the request to this response.")


class Classes(BaseModel):
    """Classes and capabilities of the server."""

    classes: list[str] = Field(description="Classes that compete for every image.")
    method: str = Field(description="Method that tuned the prompts.")
    backbone: str = Field(description="Frozen model that the prompts were tuned for.")
    open_vocabulary: bool = Field(description="Whether a request may name additional classes.")
    editable: bool = Field(description="Whether POST may add classes for all users.")
    comparable: bool = Field(description="Whether `compare` is available.")


class Health(BaseModel):
    """Health of the server."""

    status: str = Field("ok", description='Always "ok".')
