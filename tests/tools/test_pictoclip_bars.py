"""The bars by which a model is chosen."""

from dataclasses import replace

import pytest
from tools.pictoclip import bars

from vlprompt import load_backbone
from vlprompt.data.loading import load_dataset

pytest.importorskip("fontawesomefree", reason="the extra `pictures` is not installed")


def test_the_embedded_model_reads_names_behind_words_and_vectors() -> None:
    dataset = load_dataset("fontawesome")
    dataset = replace(dataset, test=dataset.val)
    times, plain, words, vectors = bars.zero_shot(load_backbone("embedded", device="cpu"), dataset)
    right = plain * len(dataset.val) / 100
    assert right == pytest.approx(round(right)), "a share of the validation images"
    assert times == pytest.approx(plain * len(dataset.class_names) / 100)
    assert times > 5
    assert words > 0.6 and vectors > 0.6, "without contexts in training these were 0.3 and 0.1"


def test_interval_of_a_mean_over_datasets() -> None:
    assert bars.half_width([50.0], [100]) == pytest.approx(9.8)
    assert bars.half_width([50.0] * 4, [100] * 4) == pytest.approx(4.9)
