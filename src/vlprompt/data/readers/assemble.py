"""Build a dataset from labeled files; shared by all readers."""

import logging
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlprompt.data.class_names import NameMap, words_for
from vlprompt.data.dataset import Dataset, Item, with_slashes
from vlprompt.data.file_facts import first_copies, unreadable
from vlprompt.data.folder_tree import LeftOut
from vlprompt.data.sampling import split_order, split_sizes
from vlprompt.data.split_names import SPLITS
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import counted, listed, printable

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

    Without test images, the validation images become the test images: a run tests on something if it can, and must not
    select anything on what it tests on. No image is in two splits, even under different names: see `_without_leaks` and
    `_split`. Corrections are logged, and listed in `Dataset.corrections`.

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
    lost = {entry.label: f"{entry.path}: {bad[entry.path]}" for entry in reversed(entries) if entry.path in bad}
    readable = [entry for entry in entries if entry.path not in bad]
    kept = list(dict.fromkeys(readable))
    corrections = [_repeated(readable)] if len(kept) < len(readable) else []
    copies = first_copies(root, sorted(entry.path for entry in kept))
    trainable = {entry.label for entry in kept if entry.split in (None, "train")}
    if None in given:
        kept = _split(kept, copies, split_seed)
    else:
        apart = _without_leaks(kept, copies)
        if len(apart) < len(kept):
            corrections.append(_leaks(kept, apart, copies))
        kept = apart
    leaked = trainable - {entry.label for entry in kept if entry.split == "train"}
    _check(source, classes, kept, bad, lost, leaked)
    conflicts = several_classes((copies[entry.path], entry.path, entry.label) for entry in kept)
    for line in (*corrections, *_duplicates(kept, copies), *conflicts):
        logger.warning("%s: %s", source, line)
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
        corrections=tuple(corrections),
    )


def several_classes(images: Iterable[tuple[str, str, Hashable]]) -> list[str]:
    """Return a line that names the images in more than one class, or an empty list.

    Args:
        images: (first path with this content, path, class) of each file.
    """
    classes: dict[str, set[Hashable]] = {}
    paths: dict[str, dict[str, None]] = {}
    for first, path, label in images:
        classes.setdefault(first, set()).add(label)
        paths.setdefault(first, {})[path] = None
    names = sorted(" = ".join(sorted(paths[first])) for first, found in classes.items() if len(found) > 1)
    return [describe_images(names, "in more than one class")] if names else []


def describe_images(paths: Sequence[str], what: str) -> str:
    """Count and name images, as in "2 images cannot be read: a.png, b.png"."""
    return f"{counted(len(paths), 'image')} {what}: {listed(paths, quote=False)}"


def _duplicates(entries: Iterable[Entry], copies: Mapping[str, str]) -> list[str]:
    pairs = sorted({f"{copies[entry.path]} = {entry.path}" for entry in entries if copies[entry.path] != entry.path})
    return [describe_images(pairs, "duplicated within a split under different names")] if pairs else []


def _repeated(entries: Iterable[Entry]) -> str:
    paths = sorted({entry.path for entry, count in Counter(entries).items() if count > 1})
    return describe_images(paths, "listed more than once, and used once")


def _leaks(entries: Iterable[Entry], kept: Iterable[Entry], copies: Mapping[str, str]) -> str:
    """Name the entries that are not kept, each with the file whose copy it is."""
    there = {copies[entry.path]: entry for entry in kept}
    names = [
        f"{entry.path} ({entry.split}) = {there[copies[entry.path]].path} ({there[copies[entry.path]].split})"
        for entry in sorted(set(entries).difference(kept), key=lambda entry: entry.path)
    ]
    return describe_images(names, "in a later split as well, and left out of the first")


def _without_leaks(entries: Sequence[Entry], copies: Mapping[str, str]) -> list[Entry]:
    """Return the entries whose image is in no later split: what is tested is neither learned nor selected on.

    The test split stays whole, so that numbers on it stay comparable.
    """
    last: dict[str, int] = {}
    for entry in entries:
        image, place = copies[entry.path], SPLITS.index(entry.split or "")
        last[image] = max(place, last.get(image, place))
    return [entry for entry in entries if SPLITS[last[copies[entry.path]]] == entry.split]


def _split(entries: Iterable[Entry], copies: Mapping[str, str], seed: int) -> list[Entry]:
    """Split the images of each class by seed; all copies of an image are in one split.

    The smallest class decides on an image that is in several, so that it keeps its training images.
    """
    by_class: dict[str, list[str]] = {}
    for entry in entries:
        by_class.setdefault(entry.label, []).append(entry.path)
    places: dict[str, str] = {}
    for paths in sorted(by_class.values(), key=len):
        images = list({copies[path]: None for path in paths if copies[path] not in places})
        train, val, _ = split_sizes(len(images))
        order = split_order(images, seed)
        for split, part in zip(SPLITS, (order[:train], order[train : train + val], order[train + val :]), strict=True):
            places |= dict.fromkeys(part, split)
    return [
        Entry(path, label, split)
        for label, paths in by_class.items()
        for split in SPLITS
        for path in sorted(paths)
        if places[copies[path]] == split
    ]


def _check(
    source: Path,
    classes: Sequence[str],
    entries: Sequence[Entry],
    bad: Mapping[str, str],
    lost: Mapping[str, str],
    leaked: Collection[str],
) -> None:
    """Raise if a class has no training image, or no image at all in a source that is only tested.

    Args:
        source: as in `assemble`.
        classes: as in `assemble`.
        entries: files that are kept.
        bad: reason of each unreadable file.
        lost: the first unreadable file of each class that has one, with the reason.
        leaked: classes whose training images are all copies of images in other splits or classes.
    """
    if not entries:
        path, reason = next(iter(bad.items()))
        raise VLPromptError(f"none of the {len(bad)} images of {source} can be read; the first is {path}: {reason}")
    splits = {entry.split for entry in entries} | ({"train"} if leaked else set())
    trained = Counter(entry.label for entry in entries if entry.split == "train")
    present = trained if "train" in splits else Counter(entry.label for entry in entries)
    for name in classes:
        if not present[name] and name in leaked:
            raise VLPromptError(
                f"class {name!r} of {source} has no training image of its own, only copies of images in other splits "
                "or classes; add some or remove the class"
            )
        if not present[name]:
            what = "training image" if "train" in splits else "image"
            elsewhere = sorted({entry.split or "" for entry in entries if entry.label == name})
            but = f", only images for {elsewhere[0]}" if elsewhere else f" ({lost[name]})" if name in lost else ""
            raise VLPromptError(f"class {name!r} of {source} has no readable {what}{but}; add some or remove the class")
    tested = {entry.label for entry in entries if entry.split == "test"}
    untested = [name for name in classes if name not in tested]
    if untested:
        logger.warning("%d of %d classes have no test image; the first is %r", len(untested), len(classes), untested[0])
