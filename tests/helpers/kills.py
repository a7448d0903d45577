"""Runs that are killed at random moments, gone on with, and compared with one that nobody disturbed."""

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
    """A folder with three classes of six colored images each."""
    for shade, name in enumerate(["red_apple", "blue_sky", "green_leaf"]):
        (root / name).mkdir(parents=True)
        for number in range(6):
            color = tuple((200 if channel == shade else 20) + 8 * number for channel in range(3))
            Image.new("RGB", (40, 36), color).save(root / name / f"{number}.png")
    return root


def kill(root: Path, nursery: Nursery, method: str, kills: int, rng: random.Random) -> Iterator[str]:
    """Begin a run, kill it and go on with it, again and again; at which point of it, by what it left.

    A run that is finished in spite of all is followed by another. Moments are drawn from the time that a whole run
    takes. Every run has a cache of its own, so that it is killed while it checks and encodes images, too.

    Args:
        root: an empty folder.
        nursery: runs the commands.
        method: by name.
        kills: how many; afterwards the last run is let alone.
        rng: draws the moments.

    Raises:
        AssertionError: something in a folder could not be read, or a run did not arrive where undisturbed ones do.
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
