"""The model's thread alone, mostly with a fake classifier."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from vlprompt import Classifier, VLPromptError
from vlprompt.serve import model_thread as model
from vlprompt.serve.model_thread import Conflict, ModelThread, Question

WAIT = 20


class Reader:
    """Text tower that ignores case."""

    def reading(self, name: str) -> str:
        return name.lower()


@dataclass
class Method:
    name: str = "zero-shot"
    backbone: Any = field(default_factory=lambda: SimpleNamespace(text=Reader()))


@dataclass
class FakeClassifier:
    """Fake classifier: predicts class k, then the next one, for an image whose first value is k; waits for `gate`."""

    class_names: tuple[str, ...] = ("a", "b", "c")
    sharp: float = 1.0
    method: Method = field(default_factory=Method)
    gate: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    encoded: list[str] = field(default_factory=list)
    fails: bool = False

    def add_classes(self, names: Sequence[str]) -> None:
        if "too long" in names:
            raise VLPromptError("shorten the class name")
        self.encoded += names
        self.class_names = (*self.class_names, *names)

    def remove_classes(self, names: Sequence[str]) -> None:
        assert names and set(names) <= set(self.class_names)
        self.class_names = tuple(name for name in self.class_names if name not in set(names))

    def logits(self, pixels: Tensor) -> Tensor:
        self.begun.set()
        assert self.gate.wait(WAIT)
        if self.fails:
            raise RuntimeError("out of memory")
        behind = torch.arange(len(self.class_names)) - pixels[:, 0, 0, :1]
        return self.sharp * (behind.eq(0) + 0.5 * behind.eq(1))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClassifier:
    # Waiting at the gate must not count as a slow model.
    monkeypatch.setattr(model, "BATCH_SECONDS", 1000.0)
    made = FakeClassifier()
    made.gate.set()
    return made


def thread_of(fake: FakeClassifier, batches: list[int] | None = None, batch_size: int = 4) -> ModelThread:
    seen = [] if batches is None else batches
    return ModelThread(
        cast(Classifier, fake), batch_size=batch_size, on_batch=lambda images, seconds: seen.append(images)
    )


def question(number: int, **wishes: Any) -> Question:
    return Question(torch.full((3, 2, 2), float(number)), **wishes)


def first(future: Future[model.Answer]) -> str:
    return future.result(WAIT).tuned[0][0]


def test_waiting_questions_form_one_batch(fake: FakeClassifier) -> None:
    batches: list[int] = []
    thread = thread_of(fake, batches)
    fake.gate.clear()
    alone = thread.ask(question(0))
    assert fake.begun.wait(WAIT)
    crowd = [thread.ask(question(number % 3)) for number in range(6)]
    assert thread.waiting == 6
    fake.gate.set()
    assert [first(future) for future in (alone, *crowd)] == list("aabcabc")
    thread.close()
    assert batches == [1, 4, 2]


def test_slow_model_gets_small_batches(fake: FakeClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    thread = thread_of(fake, batches)
    first(thread.ask(question(0)))
    assert 0 < thread.pace < 1
    monkeypatch.setattr(model, "BATCH_SECONDS", 2.5)
    for pace, expected in ((1.0, [2, 2, 1]), (30.0, [1, 1, 1, 1, 1]), (0.01, [4, 1])):
        batches.clear()
        fake.gate.clear()
        fake.begun.clear()
        blocked = thread.ask(question(0))
        assert fake.begun.wait(WAIT)
        crowd = [thread.ask(question(0)) for _ in range(5)]
        monkeypatch.setattr(model, "LATEST", 0.0)
        thread.pace = pace
        fake.gate.set()
        for future in (blocked, *crowd):
            first(future)
        assert batches == [1, *expected]
    thread.close()


def test_batch_size_one(fake: FakeClassifier) -> None:
    batches: list[int] = []
    thread = thread_of(fake, batches, batch_size=1)
    for future in [thread.ask(question(0)) for _ in range(3)]:
        first(future)
    thread.close()
    assert batches == [1, 1, 1]


def test_additions_keep_their_queue_position(fake: FakeClassifier) -> None:
    batches: list[int] = []
    thread = thread_of(fake, batches)
    fake.gate.clear()
    first_of_all = thread.ask(question(0))
    assert fake.begun.wait(WAIT)
    before, added, after = thread.ask(question(0, top=9)), thread.add(["d"]), thread.ask(question(3, top=9))
    fake.gate.set()
    assert len(first_of_all.result(WAIT).tuned) == 3 and len(before.result(WAIT).tuned) == 3
    assert added.result(WAIT) == ("a", "b", "c", "d") == thread.classes
    assert len(after.result(WAIT).tuned) == 4 and first(after) == "d"
    thread.close()
    assert batches == [1, 1, 1]


def test_failed_addition_changes_nothing(fake: FakeClassifier) -> None:
    thread = thread_of(fake)
    for names, error in ((["d", "a"], Conflict), (["d", "too long"], VLPromptError), (["d"] * 10_000, Conflict)):
        with pytest.raises(error):
            thread.add(names).result(WAIT)
    assert thread.classes == ("a", "b", "c")
    assert thread.add(["d"]).result(WAIT)[-1] == "d"
    thread.close()


def test_invalid_extra_class_fails_only_its_question(fake: FakeClassifier) -> None:
    thread = thread_of(fake)
    fake.gate.clear()
    thread.ask(question(0))
    assert fake.begun.wait(WAIT)
    good, bad = thread.ask(question(1)), thread.ask(question(1, extra=("too long",)))
    fake.gate.set()
    assert first(good) == "b"
    with pytest.raises(VLPromptError, match="shorten"):
        bad.result(WAIT)
    thread.close()


def test_model_error_is_reported_and_survived(fake: FakeClassifier, caplog: pytest.LogCaptureFixture) -> None:
    thread = thread_of(fake)
    fake.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        thread.ask(question(0)).result(WAIT)
    fake.fails = False
    assert first(thread.ask(question(2))) == "c"
    thread.close()


def test_canceled_questions_are_not_computed(fake: FakeClassifier) -> None:
    batches: list[int] = []
    thread = thread_of(fake, batches)
    fake.gate.clear()
    thread.ask(question(0))
    assert fake.begun.wait(WAIT)
    given_up, wanted = thread.ask(question(1)), thread.ask(question(2))
    assert given_up.cancel()
    fake.gate.set()
    assert first(wanted) == "c"
    thread.close()
    assert batches == [1, 1]


def test_close_answers_queued_questions(fake: FakeClassifier) -> None:
    thread = thread_of(fake, batch_size=2)
    fake.gate.clear()
    waiting = [thread.ask(question(number % 3)) for number in range(7)]
    fake.gate.set()
    thread.close()
    assert [future.done() and first(future) for future in waiting] == list("abcabca")


def test_extra_classes_are_cached_up_to_a_limit(fake: FakeClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "CACHED_CLASSES", 3)
    thread = thread_of(fake)
    for _ in range(2):
        assert len(thread.ask(question(0, extra=("d", "e", "d"), top=9)).result(WAIT).tuned) == 5
    assert fake.encoded == ["d", "e"]
    thread.ask(question(0, extra=("f", "g"))).result(WAIT)
    assert len(thread.ask(question(0, top=9)).result(WAIT).tuned) == 3
    thread.close()
    assert fake.class_names == ("a", "b", "c", "e", "f", "g")


def test_other_requests_classes_do_not_compete(fake: FakeClassifier) -> None:
    fake.sharp = 200.0
    thread = thread_of(fake)
    assert first(thread.ask(question(3, extra=("d",)))) == "d"
    shares = {name: share for name, share, _ in thread.ask(question(3, extra=("e",), top=9)).result(WAIT).tuned}
    assert shares == pytest.approx({"e": 1.0, "a": 0.0, "b": 0.0, "c": 0.0})
    assert np.isfinite(list(shares.values())).all()
    thread.close()
