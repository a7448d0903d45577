from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.runs import Tuned
from vlprompt import VLPromptError
from vlprompt.analysis.selection import evenly, find_images
from vlprompt.data.dataset import Item
from vlprompt.runs.record import read_record

ITEMS = tuple(Item(f"{number}.png", number // 10) for number in range(25))  # classes of 10, 10 and 5


def test_evenly_balances_classes() -> None:
    assert evenly(ITEMS, 0) == evenly(ITEMS, 25) == ITEMS
    chosen = evenly(ITEMS, 9)
    assert Counter(item.label for item in chosen) == {0: 3, 1: 3, 2: 3}
    assert [item.path for item in chosen[:3]] == ["0.png", "3.png", "6.png"]
    assert list(chosen) == sorted(chosen, key=ITEMS.index)
    assert Counter(item.label for item in evenly(ITEMS, 21)) == {0: 7, 1: 7, 2: 5}
    assert Counter(item.label for item in evenly(ITEMS, 1)) == {0: 1, 1: 1, 2: 1}


def test_find_images_selects_the_runs_test_images(tuned: Tuned) -> None:
    record = read_record(tuned("coop", "base-to-new", n_ctx=2))
    found = find_images(record, None, name_map=None, root=None, limit=0)
    assert list(found.dataset.class_names) == record.class_names
    assert len(found.dataset.class_names) == 2
    assert found.count == len(found.dataset.test) == record.metrics["base"]["images"]
    assert len(found.dataset.train) == record.split.train
    assert not found.changed
    few = find_images(record, None, name_map=None, root=None, limit=2)
    assert (few.count, len(few.dataset.test), len(few.dataset.train)) == (found.count, 2, 2)
    record.split.pool = "another"
    assert find_images(record, None, name_map=None, root=None, limit=0).changed


def test_find_images_uses_all_classes_of_other_data(tuned: Tuned, pictures: Path) -> None:
    record = read_record(tuned("coop", "base-to-new", n_ctx=2))
    found = find_images(record, str(pictures), name_map=None, root=None, limit=0)
    assert len(found.dataset.class_names) == 4
    assert not found.changed


@pytest.mark.parametrize("status", ["imported", "saved"])
def test_run_without_images_raises(status: str, tuned: Tuned) -> None:
    record = read_record(tuned("coop", "base-to-new", n_ctx=2)).model_copy(update={"status": status})
    with pytest.raises(VLPromptError, match=f"was {status} without images; pass a dataset as `data`"):
        find_images(record, None, name_map=None, root=None, limit=0)
