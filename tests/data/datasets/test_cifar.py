"""CIFAR from torchvision's folders, whose batches are pickles."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from vlprompt.data.datasets import cifar
from vlprompt.data.datasets.known import read_classes
from vlprompt.data.images import read_image
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError


class Fake:
    """Stand-in for `torchvision.datasets.CIFAR10`, with 10 training and 2 test images per class."""

    name = "cifar10"

    def __init__(self, root: Path, train: bool = True) -> None:
        count = 10 if train else 2
        self.targets = list(range(10)) * count
        self.classes = list(read_classes(self.name).keys)
        rng = np.random.default_rng(int(train))
        self.data = rng.integers(0, 256, (len(self.targets), 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data/cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "data/cifar-100-python").mkdir()
    return tmp_path / "data"


def test_images_are_written_once_and_losslessly(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    dataset = load_dataset("cifar10", root=data)
    for items, count in ((dataset.train, 8), (dataset.val, 2), (dataset.test, 2)):
        assert Counter(item.label for item in items) == dict.fromkeys(range(10), count)
    for number in (0, 99):
        found = np.asarray(read_image(dataset.root / f"train/{number:05}.png"))
        np.testing.assert_array_equal(found, Fake(data).data[number])
    assert {item.path: item.label for item in dataset.train + dataset.val}["train/00013.png"] == 3

    def fail(pixels: Any) -> bytes:
        raise AssertionError("written again")

    monkeypatch.setattr(cifar, "_png", fail)
    assert load_dataset("cifar10", root=data) == dataset


def test_interrupted_write_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(pixels: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "_png", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_dataset("cifar10", root=data)
    assert len(load_dataset("cifar10", root=data).test) == 20


def test_modified_cifar_files_are_never_unpickled(data: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    program = f"cbuiltins\nopen\n(S'{opened}'\nS'w'\ntR.".encode()
    names = [name for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list]
    for name in (*names, "batches.meta"):
        (data / "cifar-10-batches-py" / name).write_bytes(program)
    for name in ("train", "test", "meta"):
        (data / "cifar-100-python" / name).write_bytes(program)
    for name, folder in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        with pytest.raises(
            VLPromptError, match=f"{folder} cannot be used: its checksums differ from the published ones"
        ):
            load_dataset(name, root=data)
    assert not opened.exists()


def test_other_classes_are_rejected(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Coarse(Fake):
        name = "dtd"

    monkeypatch.setattr(datasets, "CIFAR100", Coarse)
    with pytest.raises(VLPromptError, match="it must have 100 classes, got 47"):
        load_dataset("cifar100", root=data)
