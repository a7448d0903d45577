"""Few-shot sampling, base and new classes, splits, and their random states.

Sampling follows Dassl (`generate_fewshot_dataset` as CoOp calls it), so that a seed selects the same images as in the
papers.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeVar

ClassSubset = Literal["all", "base", "new"]


class Labeled(Protocol):
    """Object with a class index."""

    @property
    def label(self) -> int:
        """The class index."""
        ...


L = TypeVar("L", bound=Labeled)


def image_rng(seed: int, epoch: int, index: int) -> random.Random:
    """Return the random state of one image in one epoch, which depends only on these three numbers.

    Augmentations are therefore independent of workers, batch order and resuming. A string seed is hashed with SHA-512,
    so it is the same in every process and Python version, unlike `hash()`.
    """
    return random.Random(f"{seed}/{epoch}/{index}")


def group_by_label(items: Iterable[L]) -> dict[int, list[L]]:
    """Group items by label; labels are in order of first appearance, items in their own order."""
    groups: dict[int, list[L]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups


def sample_shots(items: Iterable[L], shots: int, rng: random.Random) -> list[L]:
    """Sample `shots` items per label without replacement, or all items of a label with fewer.

    Labels are in order of first appearance, and `rng` is used only for labels with at least `shots` items.
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
    """Return the numbers of train, val and test images for a class of `count` images.

    The shares are 50, 20 and 30 percent, as in CoOp for datasets without a published split. A single image is for
    training, a second one for testing; validation starts at four images.

    Examples:
        >>> split_sizes(10)
        (5, 2, 3)
    """
    if count < 2:
        return count, 0, 0
    test = max(1, (3 * count + 5) // 10)
    val = (2 * count + 5) // 10 if count >= 4 else 0
    return count - val - test, val, test


def split_order(paths: Sequence[str], seed: int) -> list[str]:
    """Return paths in a seeded random order; adding a path keeps the order of the others.

    Each path has its own random key, so that adding a file moves few images between splits.
    """
    return sorted(paths, key=lambda path: random.Random(f"{seed}/{path}").random())
