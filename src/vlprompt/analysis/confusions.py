"""Which classes are taken for one another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.analysis.summaries import Change
from vlprompt.analysis.tuned_features import ClassFeatures
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.runs.record import PREDICTIONS, RunRecord


@dataclass(frozen=True)
class Answers:
    """What a model said of N images: their paths, labels (N,) and guesses (N,)."""

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two classes.

    Attributes:
        first, second: their names; images of the first were taken for the second at least as often as the reverse.
        count: images of either that were taken for the other.
        first_as_second: those of the first.
        before: the count of the frozen model with the hand-crafted template, where it saw the same images.
        text_distance: between their class embeddings.
    """

    first: str
    second: str
    count: int
    first_as_second: int
    before: int | None
    text_distance: Change


def recorded_answers(folder: Path, record: RunRecord) -> Answers | None:
    """What the run said in its test of the classes that it learned; None where nothing is kept."""
    path = folder / PREDICTIONS
    if record.status != "finished" or not path.is_file():
        return None
    test = next(iter(PROTOCOLS[record.config.protocol].tests))
    try:
        table = polars.read_parquet(path, glob=False).filter(polars.col("test") == test)
        labels, guesses = (table[column].cast(polars.Int64).to_numpy() for column in ("label", "prediction"))
        return Answers(tuple(table["path"]), labels, guesses)
    except (polars.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise VLPromptError(f"{path} cannot be read ({reason}); delete it, and images are classified anew") from error


def confused_pairs(answers: Answers, before: Answers | None, classes: ClassFeatures, top: int) -> list[Pair]:
    """The pairs of classes that are confused most, at most `top`; of equals, those that come first.

    Args:
        answers: the tuned model's.
        before: the frozen one's; they count where they are of the same images.
        classes: of the labels.
        top: how many pairs.
    """
    counts = confusion_counts(answers, len(classes.names))
    same = before is not None and sorted(before.paths) == sorted(answers.paths)
    frozen = confusion_counts(before, len(classes.names)) if before is not None and same else None
    both = counts + counts.T
    found = []
    for i, j in sorted(np.argwhere(np.triu(both, 1)).tolist(), key=lambda pair: (-both[*pair], pair))[:top]:
        i, j = (i, j) if counts[i, j] >= counts[j, i] else (j, i)
        after = classes.after if classes.changed else None
        distance = Change(_distance(classes.before, i, j), None if after is None else _distance(after, i, j))
        earlier = None if frozen is None else int(frozen[i, j] + frozen[j, i])
        found.append(Pair(classes.names[i], classes.names[j], int(both[i, j]), int(counts[i, j]), earlier, distance))
    return found


def confusion_counts(answers: Answers, classes: int) -> NDArray[np.int64]:
    """How many images of each class (rows) were taken for each (columns), (C, C)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (answers.labels, answers.guesses), 1)
    return counts


def _distance(text: Tensor, i: int, j: int) -> float:
    return float(torch.linalg.vector_norm(text[i] - text[j]))
