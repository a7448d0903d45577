"""How often image files are read before the first training step."""

import builtins
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlprompt import load_backbone
from vlprompt.config.schema import parse_config
from vlprompt.experiments import learning
from vlprompt.experiments.run import run_experiment


class FirstStep(BaseException):
    """Raised at the start of training, to stop a run."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of times each file was opened, by path."""
    counts: Counter[str] = Counter()

    def counting(original: Any) -> Any:
        def open_(file: Any, *args: Any, **words: Any) -> Any:
            counts[str(file)] += 1
            return original(file, *args, **words)

        return open_

    # Functions that `open`, `Path.open` and Pillow use.
    monkeypatch.setattr(builtins, "open", counting(builtins.open))
    monkeypatch.setattr(io, "open", counting(io.open))
    return counts


# Each image is hashed once. Methods that adapt the image tower keep it in memory instead of reading it in each epoch,
# and DAPT also needs its frozen features.
@pytest.mark.parametrize(("method", "reads"), [("coop", 2), ("vpt", 2), ("dapt", 3)])
def test_images_are_read_few_times_before_training(
    method: str, reads: int, weights: Path, tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    backbone = load_backbone(str(weights), device="cpu")
    for name in ("ant", "oak"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (40, 36), (40 * number, len(name), 90)).save(tmp_path / f"images/{name}/{number}.png")
    values = {
        "backbone": {"source": str(weights)},
        "method": {"name": method},
        "data": {"source": str(tmp_path / "images"), "shots": 2, "views": 1},
        "optim": {"epochs": 1},
        "runtime": {"device": "cpu"},
    }

    def stop(*args: Any, **words: Any) -> None:
        raise FirstStep

    monkeypatch.setattr(learning, "fit", stop)
    opened.clear()
    with pytest.raises(FirstStep):
        run_experiment(parse_config(values), tmp_path / "run", backbone=backbone)
    read = {path: count for path, count in opened.items() if path.endswith(".png")}
    assert len(read) == 12
    assert max(read.values()) <= reads, read
