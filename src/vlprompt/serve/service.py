"""Predictions and new classes, whatever they come in by."""

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.data.images import ImageError
from vlprompt.errors import VLPromptError
from vlprompt.serve.decoding import decode
from vlprompt.serve.limits import Limits
from vlprompt.serve.metrics import Counts
from vlprompt.serve.model_thread import Conflict, ModelThread, Question
from vlprompt.serve.parsing import Asked, NewClasses, parse_json, read_question
from vlprompt.serve.schemas import Classes, Predicted, Predictions, Problem, Unreadable

logger = logging.getLogger(__name__)

READERS = 4

Result = TypeVar("Result")


class Service:
    """A classifier that many ask at once.

    Threads read bodies and pictures, the model's thread answers, and the event loop never waits for either. The
    classifier is the service's own from now on.

    Attributes:
        limits: what requests may take.
        editable: whether classes may be added for everyone.
        counts: for Prometheus.
    """

    def __init__(self, classifier: Classifier, limits: Limits, *, editable: bool = False) -> None:
        self.limits, self.editable, self.counts = limits, editable, Counts()
        self._classifier = classifier
        self._model = ModelThread(classifier, batch_size=limits.batch_size, watch=self.counts.batch)
        self._readers = ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), thread_name_prefix="vlprompt-reader")
        self._inside = 0
        self.counts.gauge("vlprompt_requests_inside", "Predictions that are worked on.", lambda: self._inside)
        self.counts.gauge("vlprompt_waiting", "What waits for the model.", lambda: self._model.waiting)
        self.counts.gauge("vlprompt_classes", "Classes of the server.", lambda: len(self._model.classes))

    @property
    def classes(self) -> Classes:
        """What the service knows."""
        record = self._classifier.record
        return Classes(
            classes=list(self._model.classes),
            method=self._classifier.method.name,
            backbone=record.backbone.name,
            open_vocabulary=not self._classifier.method.class_bound,
            editable=self.editable,
            comparable=self._model.comparable,
        )

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request that takes memory and time.

        Problem, 429, where all are taken, or where it would wait too long for an answer in time.
        """
        wait = max(self._inside, self._model.waiting) * self._model.pace
        if self._inside >= self.limits.queue or wait > self.limits.timeout / 2:
            after = max(1, math.ceil(wait))
            raise Problem(429, f"too many requests; try again in {after} s", {"Retry-After": str(after)})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def predict(self, content_type: str, body: bytes) -> Predictions:
        """Answer a body. Problem where it cannot be read, or takes too long."""
        begun = time.perf_counter()
        async with self._in_time():
            asked = await self._read(partial(read_question, content_type, body))
            self._check(asked)
            results = await self._results(asked)
        bad = {
            f"image {n}": result.error for n, result in enumerate(results, start=1) if isinstance(result, Unreadable)
        }
        self.counts.images.labels("answered").inc(len(results) - len(bad))
        self.counts.images.labels("unreadable").inc(len(bad))
        if len(bad) == len(results):
            raise Problem(422, "; ".join(f"{image}: {reason}" for image, reason in bad.items()))
        return Predictions(results=results, milliseconds=1000 * (time.perf_counter() - begun))

    async def add(self, body: bytes) -> Classes:
        """Add the classes of a body for everyone. Problem where they cannot be, with none of them added."""
        async with self._in_time():
            names = (await self._read(partial(parse_json, NewClasses, body))).names
            if len(set(names)) < len(names):
                raise Problem(422, "names: one is there twice")
            try:
                await asyncio.wrap_future(self._model.add(names))
            except VLPromptError as error:
                raise self._problem(error) from error
        return self.classes

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._model.close()

    def _check(self, asked: Asked) -> None:
        if asked.wishes.compare and not self._model.comparable:
            raise Problem(422, "compare: this run has no other prompts to compare with")

    async def _results(self, asked: Asked) -> list[Predicted | Unreadable]:
        wishes = asked.wishes
        pictures = await asyncio.gather(*(self._read(partial(self._pixels, data)) for data in asked.images))
        questions = [
            Question(picture, wishes.top, tuple(wishes.classes), wishes.compare)
            for picture in pictures
            if isinstance(picture, Tensor)
        ]
        try:
            found = await asyncio.gather(*(asyncio.wrap_future(self._model.ask(question)) for question in questions))
        except VLPromptError as error:
            raise self._problem(error) from error
        answers = iter(found)
        return [
            Predicted.from_answer(next(answers)) if isinstance(picture, Tensor) else Unreadable(error=picture.reason)
            for picture in pictures
        ]

    def _pixels(self, data: bytes | None) -> Tensor | ImageError:
        try:
            return decode(data, self._classifier, self.limits.pixels)
        except ImageError as error:
            return error

    def _problem(self, error: VLPromptError) -> Problem:
        """Of classes that cannot be added: to what is there (409), or at all (422)."""
        if isinstance(error, Conflict) or self._classifier.method.class_bound:
            return Problem(409, str(error))
        logger.debug("%s", error)  # which speaks of options that whoever asked does not have
        return Problem(422, "a class name is too long for the model to read; shorten it")

    async def _read(self, work: Callable[[], Result]) -> Result:
        """Work for a reading thread; it is not begun any more if the request is given up."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield
        except TimeoutError as error:
            raise Problem(504, f"no answer within {self.limits.timeout:g} s; send less, or try again") from error
