"""The model's own thread: pictures of all requests wait in one line for it, and those that wait are seen together."""

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
from vlprompt.serve.limits import CLASSES, REMEMBERED

# Class, probability, and rank from 1.
Ranking = tuple[tuple[str, float, int], ...]
Watch = Callable[[int, float], None]

# A slow model's batches end before more than this, in seconds, so that nobody waits for strangers without gain.
BATCH_SECONDS = 0.5
# How much the latest batch counts for the pace.
LATEST = 0.3

logger = logging.getLogger(__name__)


class Conflict(VLPromptError):
    """A class that what is there stands against."""


@dataclass(frozen=True)
class Question:
    """A picture to rank classes for.

    Attributes:
        pixels: as the image tower takes them, (3, S, S).
        top: how many classes the answer has at most, besides those in `extra`.
        extra: classes, as words, that compete for this picture beside the server's, and are in its answer.
        compare: rank them by the frozen model, too.
    """

    pixels: Tensor
    top: int = 5
    extra: tuple[str, ...] = ()
    compare: bool = False


@dataclass(frozen=True)
class Answer:
    """Classes, likeliest first, by the tuned prompts and, if asked for, by the frozen model."""

    tuned: Ranking
    zero_shot: Ranking | None


class Ranker:
    """A classifier of which every question may name more classes.

    A class's feature does not depend on the others. So those that single questions named are encoded once, stay among
    the classifier's (the newest `REMEMBERED` of them), and do not count for questions that do not name them.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def know(self, names: Sequence[str]) -> None:
        """Encode those that are new. VLPromptError where the method or the text tower cannot."""
        known = set(self.classifier.class_names)
        if fresh := [name for name in dict.fromkeys(names) if name not in known]:
            self.classifier.add_classes(fresh)

    def forget(self, classes: Sequence[str], keep: int = REMEMBERED) -> None:
        """Drop what is not among `classes`, but for the newest `keep`."""
        needed = set(classes)
        others = [name for name in self.classifier.class_names if name not in needed]
        if len(others) > keep:
            self.classifier.remove_classes(others[: len(others) - keep])

    def rank(self, questions: Sequence[Question], classes: tuple[str, ...]) -> list[Ranking]:
        """Answers among `classes` and those that each question names, all of which are known."""
        logits = self.classifier.logits(torch.stack([question.pixels for question in questions]))
        column = {name: number for number, name in enumerate(self.classifier.class_names)}
        rankings = []
        for question, row in zip(questions, logits, strict=True):
            names = tuple(dict.fromkeys((*classes, *question.extra)))
            shares = row[[column[name] for name in names]].softmax(-1)
            most = None if question.extra else question.top
            values, places = (part[:most].tolist() for part in shares.sort(descending=True, stable=True))
            ranked = ((names[place], value, n) for n, (place, value) in enumerate(zip(places, values, strict=True), 1))
            rankings.append(tuple(each for each in ranked if each[2] <= question.top or each[0] in question.extra))
        return rankings


@dataclass(frozen=True)
class _Job:
    """What waits in line: a question, or names of new classes."""

    asked: Question | tuple[str, ...]
    future: Future[Any]


class ModelThread:
    """Owns a classifier: whoever asks gets a future, so that nothing needs a lock.

    Attributes:
        classes: those that compete for every picture. Replaced as a whole, so that any thread may read it.
        comparable: whether there is a frozen model to compare with.
        pace: seconds that a picture takes the model, lately; 0 before the first.
    """

    def __init__(self, classifier: Classifier, *, batch_size: int, watch: Watch = lambda images, seconds: None) -> None:
        self.classes = classifier.class_names
        self._tuned, self._frozen = Ranker(classifier), _frozen(classifier)
        self.comparable = self._frozen is not None
        self.pace = 0.0
        self._batch_size, self._watch = batch_size, watch
        self._line = deque[_Job]()
        self._changed = Condition()
        self._closing = False
        # A daemon, so that a process that is told twice to stop need not wait for it.
        self._thread = Thread(target=self._run, name="vlprompt-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many pictures and additions wait in line."""
        return len(self._line)

    def ask(self, question: Question) -> Future[Answer]:
        """Answer a question. Its future may be canceled while it waits. VLPromptError for a class that cannot be."""
        return self._put(question)

    def add(self, names: Sequence[str]) -> Future[tuple[str, ...]]:
        """Let classes, as words, compete for every picture, all of them or none; the future has all of the server's.

        Its error is a Conflict where one is there already or where there would be too many, another VLPromptError
        where the method or the text tower cannot.
        """
        return self._put(tuple(names))

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _put(self, asked: Question | tuple[str, ...]) -> Future[Any]:
        job = _Job(asked, Future())
        with self._changed:
            self._line.append(job)
            self._changed.notify()
        return job.future

    def _run(self) -> None:
        while jobs := self._take():
            wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            try:
                self._work(wanted)
            except Exception as error:  # the thread lives on, and whoever asked is told
                logger.exception("the model failed")
                for job in wanted:
                    if not job.future.done():
                        job.future.set_exception(error)

    def _take(self) -> list[_Job]:
        """The questions at the head of the line, or the addition there; waits for one. Empty when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closing)
            questions = takewhile(lambda job: isinstance(job.asked, Question), self._line)
            most = min(self._batch_size, int(BATCH_SECONDS / self.pace)) if self.pace else self._batch_size
            count = sum(1 for _ in zip(questions, range(most), strict=False))
            return [self._line.popleft() for _ in range(min(max(1, count), len(self._line)))]

    def _work(self, jobs: Sequence[_Job]) -> None:
        asked: list[tuple[_Job, Question]] = []
        for job in jobs:
            try:
                if isinstance(job.asked, Question):
                    self._know(job.asked)
                    asked.append((job, job.asked))
                else:
                    job.future.set_result(self._add(job.asked))
            except VLPromptError as error:
                job.future.set_exception(error)
        if asked:
            self._answer(asked)

    def _answer(self, asked: Sequence[tuple[_Job, Question]]) -> None:
        begun = time.perf_counter()
        questions = [question for _, question in asked]
        tuned = self._tuned.rank(questions, self.classes)
        compared = [question for question in questions if question.compare]
        frozen = iter(self._frozen.rank(compared, self.classes) if self._frozen and compared else ())
        seconds = time.perf_counter() - begun
        self.pace += (seconds / len(asked) - self.pace) * (LATEST if self.pace else 1.0)
        self._watch(len(asked), seconds)
        for (job, question), ranking in zip(asked, tuned, strict=True):
            job.future.set_result(Answer(ranking, next(frozen, None) if question.compare else None))
        for ranker in filter(None, (self._tuned, self._frozen)):
            ranker.forget(self.classes)

    def _know(self, question: Question) -> None:
        self._tuned.know(question.extra)
        if self._frozen and question.compare:
            self._frozen.know(question.extra)

    def _add(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if there := set(names) & set(self.classes):
            raise Conflict(f"there is a class {min(there)!r} already")
        if len(self.classes) + len(names) > CLASSES:
            raise Conflict(f"there would be more than {CLASSES:,} classes, which is the most that are served")
        for ranker in filter(None, (self._tuned, self._frozen)):
            ranker.know(names)
        self.classes = (*self.classes, *names)
        return self.classes


def _frozen(classifier: Classifier) -> Ranker | None:
    """The frozen model, if the run is another and the names fit its hand-crafted prompt."""
    if classifier.method.name == "zero-shot":
        return None
    try:
        return Ranker(classifier.zero_shot())
    except VLPromptError:
        return None
