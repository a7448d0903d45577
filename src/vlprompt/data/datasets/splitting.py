"""The splits that the field makes where a dataset has none. Which image goes where is ours, by a fixed seed."""

from collections.abc import Callable, Iterable
from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import class_folders, strange_folders
from vlprompt.data.datasets.known import Classes
from vlprompt.data.datasets.on_disk import Listing
from vlprompt.data.sampling import group_by_label, split_order

SEED = 1


def split_off_val(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Training and validation images: of each class round(n / 5) validate, as in CoOp's `split_trainval`."""
    train: list[Item] = []
    val: list[Item] = []
    for group in group_by_label(items).values():
        chosen = set(split_order([item.path for item in group], SEED)[: round(len(group) * 0.2)])
        for item in group:
            (val if item.path in chosen else train).append(item)
    return train, val


def split_in_three(listing: Listing, items: Iterable[Item]) -> Listing:
    """Put images into a listing: of each class 50% train, 20% validate, and the rest test, rounded as CoOp does."""
    for group in group_by_label(items).values():
        order = split_order([item.path for item in group], SEED)
        first, second = round(len(order) * 0.5), round(len(order) * 0.5) + round(len(order) * 0.2)
        place = {path: 0 if index < first else 1 if index < second else 2 for index, path in enumerate(order)}
        for item in group:
            (listing.train, listing.val, listing.test)[place[item.path]].append(item)
    return listing


def read_in_three(images: str, ignored: frozenset[str] = frozenset()) -> Callable[[Path, Classes], Listing]:
    """A reader of the class folders in the folder `images`, split in three; those that are `ignored` may be there."""

    def read(root: Path, classes: Classes) -> Listing:
        items, problems = class_folders(root, images, classes)
        problems += strange_folders(root / images, classes, ignored)
        return split_in_three(Listing(root, problems=problems, listed=False), items)

    return read
