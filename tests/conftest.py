import os

# Before torch and the Hugging Face libraries read them; the command-line tests' child processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import functools
import gc
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.helpers.command_line import Call, caller
from tests.helpers.forks import Forks
from tests.helpers.runs import Tuned
from tests.helpers.weights import write_weights
from vlprompt import load_backbone
from vlprompt.backbones.sources import automatic
from vlprompt.config.schema import parse_config
from vlprompt.experiments.run import run_experiment

# The models of the tests are tiny: one thread is faster than two, and sums in one order.
torch.set_num_threads(1)

# Files that take longest. Begun last, one of them would keep a single process busy at the end.
LONG = ("test_engines", "test_benchmarks", "test_new_method_page", "test_package", "test_kills", "test_reproduce_page")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, then those with the most tests; `make test` hands out files in this order."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem not in LONG, -tests[item.path]))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from searching what was imported, which takes tenths of a second each time."""
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo what a test sets for its whole process by `runtime.threads`: sums of two threads differ in the last bits."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_automatic_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a test relies on `auto`: its results would depend on whether the extra `photos` is installed."""

    def unnamed() -> bool:
        raise RuntimeError("the backbone is `auto`; name one, or patch `automatic.photos_installed`")

    monkeypatch.setattr(automatic, "photos_installed", unnamed)


@pytest.fixture
def without_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `photos` is not installed: `auto` is the embedded model."""
    monkeypatch.setattr(automatic, "photos_installed", lambda: False)


@pytest.fixture
def with_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `photos` is installed: `auto` is the backbone `photos`."""
    monkeypatch.setattr(automatic, "photos_installed", lambda: True)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process: exit code, stdout, stderr."""
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="session")
def popen() -> Iterator[Any]:
    """`subprocess.Popen` for Python processes, which start at once where the system can fork them safely."""
    if sys.platform != "linux":
        yield subprocess.Popen
        return
    forks = Forks()
    yield forks.popen
    forks.close()


@pytest.fixture(autouse=True)
def package_logger() -> None:
    """As in a fresh process: the command line sets it up for its process, which here is that of other tests, too."""
    logger = logging.getLogger("vlprompt")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the whole session: pictures are rendered once, and never into the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLPROMPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of `write_weights`, with 2 layers."""
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", layers=2)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four classes of twelve colored pictures each."""
    root = tmp_path_factory.mktemp("pictures")
    for shade, name in enumerate(["red_apple", "blue_sky", "green_leaf", "night"]):
        (root / name).mkdir()
        for number in range(12):
            color = tuple((200 if channel == shade else 20) + 4 * number for channel in range(3))
            Image.new("RGB", (40, 36), color).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Tuned:
    """The folder of a finished run of a method with these options, made once."""
    backbone = load_backbone(str(weights), device="cpu")
    folder = tmp_path_factory.mktemp("tuned")

    @functools.cache
    def run(method: str, protocol: str = "few-shot", **options: Any) -> Path:
        values = {
            "protocol": protocol,
            "backbone": {"source": str(weights)},
            "method": {"name": method, **options},
            "data": {"source": str(pictures), "shots": 2},
            "optim": {"epochs": 1, "lr": 0.1, "warmup_epochs": 0},
            "runtime": {"device": "cpu"},
        }
        out = folder / f"{method}-{len(list(folder.iterdir()))}"
        run_experiment(parse_config(values), out, backbone=backbone)
        return out

    return run
