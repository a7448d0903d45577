"""Few-shot draws, base and new classes, splits, and the random states behind them.

The draws are those of Dassl (`generate_fewshot_dataset` as CoOp calls it), so that a seed means the same images here as
in the papers.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeVar

ClassSubset = Literal["all", "base", "new"]


class Labeled(Protocol):
    """Anything with a class index."""

    @property
    def label(self) -> int:
        """The class index."""
        ...


L = TypeVar("L", bound=Labeled)


def image_rng(seed: int, epoch: int, index: int) -> random.Random:
    """Return the random state of one image in one epoch, a function of these three numbers only.

    So neither workers, batch order nor resuming a run change what an image looks like. A string seed goes through
    SHA-512, so it is the same in every process and Python version, unlike `hash()`.
    """
    return random.Random(f"{seed}/{epoch}/{index}")


def group_by_label(items: Iterable[L]) -> dict[int, list[L]]:
    """Group items by label; labels are in order of first appearance, items in their own order."""
    groups: dict[int, list[L]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups


def sample_shots(items: Iterable[L], shots: int, rng: random.Random) -> list[L]:
    """Draw `shots` items of each label without replacement; of a label with fewer, all.

    Labels come in order of first appearance, and `rng` is used only for labels with at least `shots` items.
    """
    sample: list[L] = []
    for group in group_by_label(items).values():
        sample += rng.sample(group, shots) if len(group) >= shots else group
    return sample


def spaced(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` of the numbers below `count`, evenly spaced.

    Examples:
        >>> spaced(10, 4)
        [0, 2, 5, 7]
    """
    kept = min(count, wanted)
    return [number * count // kept for number in range(kept)]


def class_half(count: int, classes: ClassSubset) -> range:
    """Return the labels of a subset of `count` classes: base is the first ceil(count / 2), new is the rest."""
    middle = (count + 1) // 2
    return {"all": range(count), "base": range(middle), "new": range(middle, count)}[classes]


def split_sizes(count: int) -> tuple[int, int, int]:
    """Return how many of a class's `count` images go to train, val and test.

    50, 20 and 30 percent, as CoOp splits datasets without a split of their own. Of two images one is for training
    and one for testing; a single one is for training; validation starts at four images.
    """
    if count < 2:
        return count, 0, 0
    test = max(1, (3 * count + 5) // 10)
    val = (2 * count + 5) // 10 if count >= 4 else 0
    return count - val - test, val, test


def split_order(paths: Sequence[str], seed: int) -> list[str]:
    """Sort paths into a seeded random order in which a new path never swaps two others.

    Each path gets its own random key, so that adding a file moves few images between splits.
    """
    return sorted(paths, key=lambda path: random.Random(f"{seed}/{path}").random())
