from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.runs import Tuned
from vlprompt import VLPromptError
from vlprompt.analysis.confusions import Answers, confused_pairs, confusion_counts, recorded_answers
from vlprompt.analysis.tuned_features import Change, ClassFeatures
from vlprompt.runs.record import read_record

CLASSES = ClassFeatures(("cat", "dog", "cow"), torch.eye(3), torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1]]))
ROOT = pytest.approx(2**0.5)


def answers(*pairs: tuple[int, int]) -> Answers:
    labels, guesses = np.array(pairs, dtype=np.int64).T
    return Answers(tuple(f"{number}.png" for number in range(len(pairs))), labels, guesses)


def test_pairs_count_both_ways() -> None:
    after = answers((0, 0), (1, 0), (1, 0), (0, 1), (2, 1), (2, 2))
    before = answers((0, 2), (1, 0), (1, 1), (0, 1), (2, 2), (2, 0))
    assert confusion_counts(after, 3).tolist() == [[1, 1, 0], [2, 0, 0], [0, 1, 1]]
    first, second = confused_pairs(after, before, CLASSES, 10)
    assert (first.first, first.second, first.count, first.first_as_second, first.before) == ("dog", "cat", 3, 2, 2)
    assert first.text_distance == Change(ROOT, pytest.approx(0.8**0.5))
    assert (second.first, second.second, second.count, second.first_as_second, second.before) == ("cow", "dog", 1, 1, 0)
    assert confused_pairs(after, before, CLASSES, 1) == [first]


def test_ties_are_in_class_order() -> None:
    found = confused_pairs(answers((2, 1), (1, 0), (0, 2)), None, CLASSES, 10)
    assert [(pair.first, pair.second) for pair in found] == [("dog", "cat"), ("cat", "cow"), ("cow", "dog")]
    assert {pair.before for pair in found} == {None}


def test_confusions_of_different_images_are_not_compared() -> None:
    after = answers((0, 1), (1, 1))
    fewer = Answers(after.paths[:1], after.labels[:1], after.guesses[:1])
    assert confused_pairs(after, fewer, CLASSES, 10)[0].before is None
    shuffled = Answers(after.paths[::-1], after.labels[::-1], np.array([1, 0]))
    assert confused_pairs(after, shuffled, CLASSES, 10)[0].before == 0


def test_no_confusions_give_no_pairs() -> None:
    assert confused_pairs(answers((0, 0), (1, 1)), None, CLASSES, 10) == []


def test_recorded_answers_match_the_run(tuned: Tuned, tmp_path: Path) -> None:
    run = tuned("coop", "base-to-new", n_ctx=2)
    record = read_record(run)
    found = recorded_answers(run, record)
    assert found is not None
    accuracy = 100 * float((found.labels == found.guesses).mean())
    assert accuracy == pytest.approx(record.metrics["base"]["accuracy"])
    assert len(found.paths) == record.metrics["base"]["images"]
    assert set(found.labels.tolist()) == {0, 1}

    assert recorded_answers(tmp_path, record) is None
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(VLPromptError, match=r"predictions.parquet cannot be read"):
        recorded_answers(tmp_path, record)
