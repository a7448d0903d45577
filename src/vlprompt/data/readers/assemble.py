"""Build a dataset from labeled files; shared by all readers."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlprompt.data.class_names import NameMap, words_for
from vlprompt.data.dataset import Dataset, Item, with_slashes
from vlprompt.data.file_facts import unreadable
from vlprompt.data.folders import LeftOut
from vlprompt.data.sampling import split_order, split_sizes
from vlprompt.data.splits import SPLITS
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import printable

logger = logging.getLogger("vlprompt")


@dataclass(frozen=True, slots=True)
class Entry:
    """Labeled file of a source: path, class as named in the source, and split, if the source has splits."""

    path: str
    label: str
    split: str | None = None


def assemble(
    source: Path,
    root: Path,
    classes: Sequence[str],
    entries: Sequence[Entry],
    *,
    split_seed: int,
    name_map: NameMap | None,
    left_out: Sequence[LeftOut] = (),
) -> Dataset:
    """Build a dataset from the readable files, split by seed if the source has no splits.

    Without test images, those for validation are for testing: a run always tests on something if it can, and must not
    select anything on what it tests on.

    Args:
        source: folder or file given by the user, for messages and the dataset's name.
        root: folder that paths are relative to.
        classes: all classes, in label order.
        entries: labeled files; either all of them have a split, or none.
        split_seed: seed of the split of each class into train, val and test.
        name_map: see `words_for`.
        left_out: files of the source that are not read.

    Raises:
        VLPromptError: there is only one class, a class has no words or no image, or no image can be read.
    """
    if len(classes) < 2:
        raise VLPromptError(f"{source} has only one class ({classes[0]!r}); a classifier needs at least two")
    words = words_for(classes, name_map)
    entries = [replace(entry, path=with_slashes(root, entry.path)) for entry in entries]
    given = {entry.split for entry in entries}
    tested_on = "val" if "val" in given and "test" not in given else "test"
    if tested_on == "val":
        logger.warning("%s has no labeled test images; testing on its validation images", source)
        entries = [replace(entry, split="test") if entry.split == "val" else entry for entry in entries]
    bad = unreadable(root, [entry.path for entry in entries])
    kept = [entry for entry in entries if entry.path not in bad]
    lost = {entry.label: f"{entry.path}: {bad[entry.path]}" for entry in reversed(entries) if entry.path in bad}
    if None in given:
        kept = _split(kept, split_seed)
    _check(source, classes, kept, bad, lost)
    labels = {name: label for label, name in enumerate(classes)}
    items = {
        split: tuple(Item(entry.path, labels[entry.label]) for entry in kept if entry.split == split)
        for split in SPLITS
    }
    return Dataset(
        name=source.stem if source.is_file() else source.resolve().name,
        root=root,
        class_names=words,
        train=items["train"],
        val=items["val"],
        test=items["test"],
        source=str(source),
        skipped=tuple((printable(path), reason) for path, reason in bad.items()),
        left_out=tuple(left_out),
        split_seed=split_seed if None in given else None,
        tested_on=tested_on,
    )


def _split(entries: Iterable[Entry], seed: int) -> list[Entry]:
    by_class: dict[str, list[str]] = {}
    for entry in entries:
        by_class.setdefault(entry.label, []).append(entry.path)
    result = []
    for label, paths in by_class.items():
        train, val, _ = split_sizes(len(paths))
        order = split_order(paths, seed)
        for split, part in zip(SPLITS, (order[:train], order[train : train + val], order[train + val :]), strict=True):
            result += [Entry(path, label, split) for path in sorted(part)]
    return result


def _check(
    source: Path, classes: Sequence[str], entries: Sequence[Entry], bad: Mapping[str, str], lost: Mapping[str, str]
) -> None:
    """Raise if a class has no training image, or no image at all in a source that is only for testing.

    Args:
        source: as in `assemble`.
        classes: as in `assemble`.
        entries: readable files.
        bad: reason of each unreadable file.
        lost: the first unreadable file of each class that has one, with the reason.
    """
    if not entries:
        path, reason = next(iter(bad.items()))
        raise VLPromptError(f"none of the {len(bad)} images of {source} can be read; the first is {path}: {reason}")
    splits = {entry.split for entry in entries}
    trained = Counter(entry.label for entry in entries if entry.split == "train")
    present = trained if "train" in splits else Counter(entry.label for entry in entries)
    for name in classes:
        if not present[name]:
            what = "training image" if "train" in splits else "image"
            but = f" ({lost[name]})" if name in lost else ""
            raise VLPromptError(f"class {name!r} of {source} has no readable {what}{but}; add some or remove the class")
    tested = {entry.label for entry in entries if entry.split == "test"}
    untested = [name for name in classes if name not in tested]
    if untested:
        logger.warning("%d of %d classes have no test image; the first is %r", len(untested), len(classes), untested[0])
