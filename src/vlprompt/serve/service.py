"""Service behind the HTTP routes: predictions and new classes."""

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.data.images import ImageError
from vlprompt.errors import VLPromptError
from vlprompt.serve.batch_size import efficient_batch
from vlprompt.serve.limits import Limits
from vlprompt.serve.metrics import Metrics
from vlprompt.serve.model_thread import Conflict, ModelThread, Question
from vlprompt.serve.parsing import (
    FORM,
    JSON,
    AddClassesBody,
    PredictRequest,
    media_type,
    parse_image,
    parse_json,
    parse_predict_form,
    parse_predict_json,
)
from vlprompt.serve.reader_threads import ReaderThreads
from vlprompt.serve.schemas import Classes, Predicted, PredictResponse, Problem, Unreadable

logger = logging.getLogger(__name__)

READERS = 4

Result = TypeVar("Result")


class Service:
    """Classifier for many concurrent requests.

    Reader threads parse JSON and decode images, the model thread predicts, and the event loop never waits for either.
    The service takes ownership of the classifier.

    Attributes:
        limits: limits of requests and of the server.
        editable: whether requests may add classes for all users.
        metrics: Prometheus metrics.
    """

    def __init__(self, classifier: Classifier, limits: Limits, *, editable: bool = False) -> None:
        self.limits, self.editable, self.metrics = limits, editable, Metrics()
        self._classifier = classifier
        batch_size = efficient_batch(classifier, limits.batch_size)
        self._model = ModelThread(classifier, batch_size=batch_size, on_batch=self.metrics.count_batch)
        self._readers = ReaderThreads(min(READERS, os.cpu_count() or 1))
        self._in_flight = 0
        self.metrics.add_gauge("vlprompt_requests_inside", "Predictions in flight.", lambda: self._in_flight)
        self.metrics.add_gauge(
            "vlprompt_waiting", "Images and additions waiting for the model.", lambda: self._model.waiting
        )
        self.metrics.add_gauge(
            "vlprompt_classes", "Classes that compete for every image.", lambda: len(self._model.classes)
        )

    @property
    def classes(self) -> Classes:
        """The classes and capabilities of the server."""
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
    async def slot(self) -> AsyncIterator[None]:
        """Reserve one of the limited slots for a request that takes memory and time.

        Raises:
            Problem: 429 if none is free, or if the request would wait too long to be answered in time.
        """
        wait = max(self._readers.wait, max(self._in_flight, self._model.waiting) * self._model.pace)
        if self._in_flight >= self.limits.queue or wait > self.limits.timeout / 2:
            raise _too_many(wait)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def predict(self, content_type: str, body: bytes) -> PredictResponse:
        """Classify the images of a request body.

        Raises:
            Problem: 4xx if the body cannot be parsed or none of its images can be read; 504 if it takes too long.
        """
        begun = time.perf_counter()
        async with self._in_time():
            request = await self._parse(content_type, body, begun)
            if request.options.compare and not self._model.comparable:
                raise Problem(422, "compare: this run has no tuned prompts to compare with the frozen model")
            results = await self._results(request, begun)
        unread = {
            f"image {n}": result.error for n, result in enumerate(results, start=1) if isinstance(result, Unreadable)
        }
        self.metrics.images.labels("answered").inc(len(results) - len(unread))
        self.metrics.images.labels("unreadable").inc(len(unread))
        if len(unread) == len(results):
            raise Problem(422, "; ".join(f"{image}: {reason}" for image, reason in unread.items()))
        return PredictResponse(results=results, milliseconds=1000 * (time.perf_counter() - begun))

    async def add(self, body: bytes) -> Classes:
        """Add the classes of a request body for all users: all of them or, if one is refused, none.

        Raises:
            Problem: 4xx if the body cannot be parsed or a class is refused; 504 if it takes too long.
        """
        begun = time.perf_counter()
        async with self._in_time():
            (added,) = await self._in_threads([partial(parse_json, AddClassesBody, body)], begun)
            names = added.names
            if len(set(names)) < len(names):
                raise Problem(422, "names: must be unique")
            try:
                await asyncio.wrap_future(self._model.add(names))
            except VLPromptError as error:
                raise self._class_problem(error) from error
        return self.classes

    def close(self) -> None:
        """Answer the questions that wait for the model, then end its thread. Running decoders are not waited for."""
        self._readers.close()
        self._model.close()

    async def _parse(self, content_type: str, body: bytes, begun: float) -> PredictRequest:
        kind = media_type(content_type)
        if kind == FORM:
            return await parse_predict_form(content_type, body)
        if kind == JSON:
            return (await self._in_threads([partial(parse_predict_json, body)], begun))[0]
        raise Problem(
            415, f"unsupported media type; send {FORM} with files as `image`, or {JSON} with base64 as `image`"
        )

    async def _results(self, request: PredictRequest, begun: float) -> list[Predicted | Unreadable]:
        options = request.options
        images = await self._in_threads([partial(self._pixels, data) for data in request.images], begun)
        questions = [
            Question(image, options.top, tuple(options.classes), options.compare)
            for image in images
            if isinstance(image, Tensor)
        ]
        try:
            found = await asyncio.gather(*(asyncio.wrap_future(self._model.ask(question)) for question in questions))
        except VLPromptError as error:
            raise self._class_problem(error) from error
        answers = iter(found)
        return [
            Predicted.from_answer(next(answers)) if isinstance(image, Tensor) else Unreadable(error=image.reason)
            for image in images
        ]

    async def _in_threads(self, jobs: Sequence[Callable[[], Result]], begun: float) -> list[Result]:
        """Parse or decode in the reader threads.

        Raises:
            Problem: 429 if half of the time of the request, which began at `begun`, is over before the threads have
                begun with all jobs, or three quarters before they are done.
        """
        futures = [self._readers.submit(job) for job in jobs]
        waiting = asyncio.gather(*map(asyncio.wrap_future, futures))
        half = self.limits.timeout / 2
        try:
            await asyncio.wait([waiting], timeout=begun + half - time.perf_counter())
            if all(future.running() or future.done() for future in futures):
                await asyncio.wait([waiting], timeout=begun + 1.5 * half - time.perf_counter())
            if not waiting.done():
                raise _too_many(max(half, self._readers.wait))
            return waiting.result()
        finally:
            waiting.cancel()  # and with it the jobs that no thread has begun with

    def _pixels(self, data: bytes | None) -> Tensor | ImageError:
        try:
            return parse_image(data, self._classifier, self.limits.pixels)
        except ImageError as error:
            return error

    def _class_problem(self, error: VLPromptError) -> Problem:
        """Return 409 for classes that conflict with the server's or the method, and 422 for names that are too long."""
        if isinstance(error, Conflict) or self._classifier.method.class_bound:
            return Problem(409, str(error))
        logger.debug("%s", error)  # the message names options that clients do not have
        return Problem(422, "a class name is too long for the model; shorten it")

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield
        except TimeoutError as error:
            raise Problem(504, f"no response within {self.limits.timeout:g} s; send less, or try again") from error


def _too_many(wait: float) -> Problem:
    """Return 429 with the seconds to wait."""
    after = max(1, math.ceil(wait))
    return Problem(429, f"too many requests; try again in {after} s", {"Retry-After": str(after)})
