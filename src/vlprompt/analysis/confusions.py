"""Classes that a run confuses most."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.analysis.tuned_features import Change, ClassFeatures
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.runs.record import PREDICTIONS, RunRecord
from vlprompt.utils.strings import first_line


@dataclass(frozen=True)
class Answers:
    """Predictions for N images: their paths, labels (N,) and predicted labels (N,)."""

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Pair of confused classes.

    Attributes:
        first: Class that is predicted as the other at least as often as the reverse.
        second: The other class.
        count: Number of images of either class that are predicted as the other.
        first_as_second: Number of images of the first class that are predicted as the second.
        before: `count` of the frozen model with the hand-crafted template; None if its images differ.
        text_distance: Distance between the class embeddings before and after tuning.
    """

    first: str
    second: str
    count: int
    first_as_second: int
    before: int | None
    text_distance: Change


def recorded_answers(folder: Path, record: RunRecord) -> Answers | None:
    """Return the recorded predictions of a run's test on its training classes, or None.

    Raises:
        VLPromptError: The predictions cannot be read.
    """
    path = folder / PREDICTIONS
    if record.status != "finished" or not path.is_file():
        return None
    test = next(iter(PROTOCOLS[record.config.protocol].tests))
    try:
        table = polars.read_parquet(path, glob=False).filter(polars.col("test") == test)
        labels, guesses = (table[column].cast(polars.Int64).to_numpy() for column in ("label", "prediction"))
        return Answers(tuple(table["path"]), labels, guesses)
    except (polars.exceptions.PolarsError, OSError) as error:
        reason = first_line(error)
        raise VLPromptError(f"{path} cannot be read ({reason}); delete it to classify the images again") from error


def confused_pairs(answers: Answers, before: Answers | None, classes: ClassFeatures, top: int) -> list[Pair]:
    """Return the most confused pairs of classes, at most `top`; ties are in class order.

    Args:
        answers: Predictions of the tuned model.
        before: Predictions of the frozen model, used if they are for the same images.
        classes: Features of the classes, in label order.
        top: Maximum number of pairs.
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
    """Return the confusion matrix (C, C): images of each class (rows) by predicted class (columns)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (answers.labels, answers.guesses), 1)
    return counts


def _distance(text: Tensor, i: int, j: int) -> float:
    return float(torch.linalg.vector_norm(text[i] - text[j]))
