"""Model thread: images of all requests are queued, and the waiting ones form the next batch."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import takewhile
from threading import Condition, Thread
from typing import Any

import torch
from torch import Tensor

from vlprompt.classifier.classifier import Classifier
from vlprompt.errors import VLPromptError
from vlprompt.serve.limits import CACHED_CLASSES, CLASSES

# (class, probability, rank from 1) triples.
Ranking = tuple[tuple[str, float, int], ...]
# Called after a batch with its size and seconds.
OnBatch = Callable[[int, float], None]

# Batches of a slow model are limited to about this time, since larger ones only make requests wait for each other.
BATCH_SECONDS = 0.5
# Weight of the latest batch in the moving average of seconds per image.
LATEST = 0.3

logger = logging.getLogger(__name__)


class Conflict(VLPromptError):
    """Error of adding a class that already exists, or too many classes."""


@dataclass(frozen=True)
class Question:
    """Image to rank classes for.

    Attributes:
        pixels: tensor with shape (3, S, S).
        top: maximum number of classes in the answer, besides those in `extra`.
        extra: additional classes, as words, that compete for this image and are always part of the answer.
        compare: also rank the classes with the frozen model.
    """

    pixels: Tensor
    top: int = 5
    extra: tuple[str, ...] = ()
    compare: bool = False


@dataclass(frozen=True)
class Answer:
    """Classes in descending order of probability: with the tuned prompts and, if requested, with the frozen model."""

    tuned: Ranking
    zero_shot: Ranking | None


class Ranker:
    """Classifier that supports additional classes per question.

    The feature of a class does not depend on the others. So classes of single questions are encoded once and cached in
    the classifier (the newest `CACHED_CLASSES` of them), but compete only in questions that name them. Names that the
    model reads as the same text, such as "cat" and "Cat" of two questions, share one feature.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def add(self, names: Sequence[str]) -> None:
        """Encode the classes that are not encoded yet.

        Raises:
            VLPromptError: the method or the text tower cannot encode one of them.
        """
        known = set(map(self.reading, self.classifier.class_names))
        if new := [name for name in dict.fromkeys(names) if self.reading(name) not in known]:
            self.classifier.add_classes(new)

    def reading(self, name: str) -> tuple[int, ...]:
        """Return what the model reads of a name."""
        return self.classifier.method.backbone.text.reading(name)

    def evict(self, classes: Sequence[str]) -> None:
        """Remove the oldest classes that are not in `classes`, until at most `CACHED_CLASSES` of them remain."""
        needed = set(map(self.reading, classes))
        others = [name for name in self.classifier.class_names if self.reading(name) not in needed]
        if len(others) > CACHED_CLASSES:
            self.classifier.remove_classes(others[:-CACHED_CLASSES])

    def rank(self, questions: Sequence[Question], classes: tuple[str, ...]) -> list[Ranking]:
        """Rank `classes` and each question's `extra` classes, all of which must have been added."""
        logits = self.classifier.logits(torch.stack([question.pixels for question in questions]))
        column: dict[str | tuple[int, ...], int] = {}
        for number, name in enumerate(self.classifier.class_names):
            column[name] = column[self.reading(name)] = number
        rankings = []
        for question, row in zip(questions, logits, strict=True):
            names = tuple(dict.fromkeys((*classes, *question.extra)))
            shares = row[[column.get(name, column[self.reading(name)]) for name in names]].softmax(-1)
            limit = None if question.extra else question.top
            values, indices = (part[:limit].tolist() for part in shares.sort(descending=True, stable=True))
            ranked = ((names[index], value, n) for n, (index, value) in enumerate(zip(indices, values, strict=True), 1))
            rankings.append(tuple(each for each in ranked if each[2] <= question.top or each[0] in question.extra))
        return rankings


@dataclass(frozen=True)
class _Job:
    """Queued job: a question, or names of classes to add."""

    task: Question | tuple[str, ...]
    future: Future[Any]


class ModelThread:
    """Thread that owns a classifier; callers get futures, so that no locks are needed.

    Attributes:
        classes: classes that compete for every image. The tuple is replaced as a whole, so any thread may read it.
        comparable: whether the frozen model is available for comparison.
        pace: recent seconds per image; 0 before the first batch.
    """

    def __init__(
        self, classifier: Classifier, *, batch_size: int, on_batch: OnBatch = lambda images, seconds: None
    ) -> None:
        self.classes = classifier.class_names
        self._tuned, self._frozen = Ranker(classifier), _frozen(classifier)
        self.comparable = self._frozen is not None
        self.pace = 0.0
        self._batch_size, self._on_batch = batch_size, on_batch
        self._queue = deque[_Job]()
        self._changed = Condition()
        self._closing = False
        # A daemon thread, so that a second Ctrl-C ends the process without waiting for it.
        self._thread = Thread(target=self._run, name="vlprompt-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of queued images and additions."""
        return len(self._queue)

    def ask(self, question: Question) -> Future[Answer]:
        """Queue a question; the future can be canceled until the question is taken.

        The future's exception is a VLPromptError if a class cannot be encoded.
        """
        return self._put(question)

    def add(self, names: Sequence[str]) -> Future[tuple[str, ...]]:
        """Queue an addition of classes, as words, that compete for every image: all of them or none.

        The future's result is the tuple of all classes. Its exception is a Conflict if a class already exists or there
        would be too many, or another VLPromptError if one cannot be encoded.
        """
        return self._put(tuple(names))

    def close(self) -> None:
        """Process the queue, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _put(self, task: Question | tuple[str, ...]) -> Future[Any]:
        job = _Job(task, Future())
        with self._changed:
            self._queue.append(job)
            self._changed.notify()
        return job.future

    def _run(self) -> None:
        while jobs := self._take():
            wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            try:
                self._work(wanted)
            except Exception as error:  # report it to the callers and keep the thread alive
                logger.exception("the model failed")
                for job in wanted:
                    if not job.future.done():
                        job.future.set_exception(error)

    def _take(self) -> list[_Job]:
        """Wait for jobs and take the questions, or the one addition, at the head of the queue. Empty after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            questions = takewhile(lambda job: isinstance(job.task, Question), self._queue)
            limit = min(self._batch_size, int(BATCH_SECONDS / self.pace)) if self.pace else self._batch_size
            count = sum(1 for _ in zip(questions, range(limit), strict=False))
            return [self._queue.popleft() for _ in range(min(max(1, count), len(self._queue)))]

    def _work(self, jobs: Sequence[_Job]) -> None:
        batch: list[tuple[_Job, Question]] = []
        for job in jobs:
            try:
                if isinstance(job.task, Question):
                    self._add_extra(job.task)
                    batch.append((job, job.task))
                else:
                    job.future.set_result(self._add(job.task))
            except VLPromptError as error:
                job.future.set_exception(error)
        if batch:
            self._answer(batch)

    def _answer(self, batch: Sequence[tuple[_Job, Question]]) -> None:
        begun = time.perf_counter()
        questions = [question for _, question in batch]
        tuned = self._tuned.rank(questions, self.classes)
        compared = [question for question in questions if question.compare]
        frozen = iter(self._frozen.rank(compared, self.classes) if self._frozen and compared else ())
        seconds = time.perf_counter() - begun
        self.pace += (seconds / len(batch) - self.pace) * (LATEST if self.pace else 1.0)
        self._on_batch(len(batch), seconds)
        for (job, question), ranking in zip(batch, tuned, strict=True):
            job.future.set_result(Answer(ranking, next(frozen, None) if question.compare else None))
        for ranker in filter(None, (self._tuned, self._frozen)):
            ranker.evict(self.classes)

    def _add_extra(self, question: Question) -> None:
        self._check_readings(question.extra)
        self._tuned.add(question.extra)
        if self._frozen and question.compare:
            self._frozen.add(question.extra)

    def _check_readings(self, names: Sequence[str]) -> None:
        """Raise Conflict if a new name reads like another one, so that no image could tell the two apart."""
        first = {self._tuned.reading(name): name for name in self.classes}
        for name in names:
            twin = first.setdefault(self._tuned.reading(name), name)
            if twin != name:
                raise Conflict(f"the model reads class {name!r} as {twin!r}; use another name")

    def _add(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if known := set(names) & set(self.classes):
            raise Conflict(f"class {min(known)!r} already exists")
        if len(self.classes) + len(names) > CLASSES:
            raise Conflict(f"the server is limited to {CLASSES:,} classes and has {len(self.classes):,}")
        self._check_readings(names)
        for ranker in filter(None, (self._tuned, self._frozen)):
            ranker.add(names)
        self.classes = (*self.classes, *names)
        return self.classes


def _frozen(classifier: Classifier) -> Ranker | None:
    """Return the frozen model, or None if the run is zero-shot or a name is too long for the hand-crafted prompt."""
    if classifier.method.name == "zero-shot":
        return None
    try:
        return Ranker(classifier.zero_shot())
    except VLPromptError:
        return None
