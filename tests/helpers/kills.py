"""Kill and resume runs at random moments, and compare them with an undisturbed run."""

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.helpers.folders import check, content
from tests.helpers.nursery import Nursery
from tests.helpers.weights import write_weights
from vlprompt.runs.record import RunRecord
from vlprompt.runs.state import FILE, read_progress

EPOCHS = 24  # half of a run's time, and two files each
SETTINGS = ("--shots", 2, "--device", "cpu", "--quiet", "--resume", "--set", "data.views=2")
SETTINGS += ("--set", f"optim.epochs={EPOCHS}", "--set", "optim.batch_size=3")


def draw(root: Path) -> Path:
    """Write a folder of three classes with six colored images each."""
    for shade, name in enumerate(["red_apple", "blue_sky", "green_leaf"]):
        (root / name).mkdir(parents=True)
        for number in range(6):
            color = tuple((200 if channel == shade else 20) + 8 * number for channel in range(3))
            Image.new("RGB", (40, 36), color).save(root / name / f"{number}.png")
    return root


def kill(root: Path, nursery: Nursery, method: str, kills: int, rng: random.Random) -> Iterator[str]:
    """Start, kill and resume a run repeatedly; count the states in which it was killed.

    A finished run is followed by another one. Moments are drawn from the duration of a full run. Every run has its own
    cache, so that it is also killed while checking and encoding images.

    Args:
        root: an empty folder.
        nursery: runs the commands.
        method: by name.
        kills: number of kills; afterwards the last run may finish.
        rng: draws the moments.

    Raises:
        AssertionError: a file is unreadable, or the result of a run differs from an undisturbed one.
    """
    images, weights, log = draw(root / "images"), write_weights(root / "weights.safetensors", layers=1), root / "log"
    words = ("tune", images, "--method", method, "--backbone", weights, *SETTINGS)
    whole = nursery.run(*words, "--out", root / "whole", cache=root / "cache-whole", log=log)
    assert whole.code == 0, whole.said
    expected = content(root / "whole")
    number = 0
    while kills:
        number += 1
        folder, cache = root / f"run-{number}", root / f"cache-{number}"
        finished = False
        while not finished:
            moment = rng.uniform(0, whole.seconds) if kills else None
            end = nursery.run(*words, "--out", folder, cache=cache, log=log, kill_after=moment)
            record = check(folder, images)
            finished = end.code == 0
            if end.code is None:
                kills -= 1
                yield _moment(folder, record)
            else:
                assert (finished, end.said) == (True, "")
        assert content(folder) == expected


def _moment(folder: Path, record: RunRecord | None) -> str:
    if record is None:
        return "before its first file"
    if record.status == "finished":
        return "after its last file"
    if not (folder / FILE).exists():
        return "before its first epoch"
    return "after its last epoch" if len(read_progress(folder)[0]) == EPOCHS else "between its epochs"
