"""What the service says, as its OpenAPI document describes it."""

from typing import Self

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from vlprompt.serve.model_thread import Answer, Ranking


class Problem(Exception):
    """A request that cannot be answered: an HTTP status, a sentence for whoever sent it, and headers."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    @property
    def response(self) -> JSONResponse:
        """What is sent."""
        return JSONResponse(Refusal(error=self.message).model_dump(), self.status, self.headers)


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="A sentence for people.")


class Ranked(BaseModel):
    """A class and its probability."""

    label: str = Field(description="The class.")
    probability: float = Field(ge=0, le=1, description="That the picture shows it, and no other class.")
    rank: int = Field(ge=1, description="Its place among all classes that competed.")


class Ranks(BaseModel):
    """The likeliest class of a picture, and the likeliest few."""

    label: str = Field(description="The likeliest class.")
    probability: float = Field(ge=0, le=1, description="Of that class.")
    top: list[Ranked] = Field(description="The likeliest classes, likeliest first, and the request's own `classes`.")

    @classmethod
    def of(cls, ranking: Ranking) -> Self:
        """From classes, probabilities and ranks."""
        ranked = [Ranked(label=label, probability=share, rank=rank) for label, share, rank in ranking]
        return cls(label=ranked[0].label, probability=ranked[0].probability, top=ranked)


class Predicted(Ranks):
    """The answer to one picture."""

    zero_shot: Ranks | None = Field(None, description="Of the frozen model with a hand-crafted prompt, if asked for.")

    @classmethod
    def from_answer(cls, answer: Answer) -> Self:
        """From what the model said."""
        zero_shot = None if answer.zero_shot is None else Ranks.of(answer.zero_shot)
        return cls(**Ranks.of(answer.tuned).model_dump(), zero_shot=zero_shot)


class Unreadable(BaseModel):
    """In place of the answer to a picture that cannot be read."""

    error: str = Field(description="Why.")


class Predictions(BaseModel):
    """Answers to the pictures of a request."""

    results: list[Predicted | Unreadable] = Field(description="One for each picture, in their order.")
    milliseconds: float = Field(description="From the last byte of the request to this answer.")


class Classes(BaseModel):
    """What the service knows."""

    classes: list[str] = Field(description="Classes that compete for every picture.")
    method: str = Field(description="That tuned the prompts.")
    backbone: str = Field(description="The model that they were tuned for.")
    open_vocabulary: bool = Field(description="Whether a request may name more classes.")
    editable: bool = Field(description="Whether POST adds classes for everyone.")
    comparable: bool = Field(description="Whether `compare` has something to compare with.")


class Health(BaseModel):
    """That the service is there."""

    status: str = Field("ok", description="Always that.")
