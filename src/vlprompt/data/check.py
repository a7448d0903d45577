"""Check a dataset for missing and unreadable images, wrong counts, and images in several classes or splits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.known import Size
from vlprompt.data.datasets.on_disk import Layout, OnDisk, data_root
from vlprompt.data.file_facts import find_unreadable, first_copies
from vlprompt.data.folder_tree import LeftOut, describe
from vlprompt.data.loading import DATASETS, load_dataset
from vlprompt.data.readers.assemble import describe_images, several_classes
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import counted, listed


@dataclass
class Report:
    """Result of checking a dataset.

    Attributes:
        name: name of the dataset.
        folder: folder of the images; None if they were not found.
        layout: title of the layout found; "" for a user's own dataset.
        classes: number of classes.
        counts: number of images by split and class.
        published: published number of images by split.
        problems: one line per problem to fix; empty if none was found.
        notes: one line per observation that needs no fix.
        unreadable: reason why an image cannot be read, by path.
        left_out: files that are not read, by suffix.
        fetch: download instructions by source; only if images are missing, or papers use another split.
    """

    name: str
    folder: str | None = None
    layout: str = ""
    classes: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    fetch: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return asdict(self)


def inspect(source: str, root: Path | None = None, exclude: Sequence[str] = ()) -> Report:
    """Check a named dataset or a user's own. Every image is decoded, and all files are compared.

    Args:
        source: as in `load_dataset`.
        root: as in `load_dataset`.
        exclude: as in `load_dataset`.

    Returns:
        Report whose `problems` are empty if the dataset is fine.

    Raises:
        VLPromptError: a user's own source cannot be loaded.

    Examples:
        >>> inspect("oxford-pets").problems  # doctest: +SKIP
        []
    """
    entry = DATASETS.get(source) if source in DATASETS else None
    if isinstance(entry, OnDisk) and not exclude:
        return _inspect_known(entry, root)
    dataset = load_dataset(source, root=root, exclude=exclude)
    report = Report(dataset.name, str(dataset.root), unreadable=dict(dataset.skipped), left_out=list(dataset.left_out))
    unread = [one for one in dataset.left_out if one.images]
    others = [one for one in dataset.left_out if not one.images]
    if unread:
        report.problems.append(describe(unread))
    if others:
        report.notes.append(describe(others))
    if dataset.tested_on == "val":
        report.notes.append("its validation images are the test images, since it has no labeled test split")
    _count(report, dataset)
    _check_images(report, dataset, own=True)
    return report


def _inspect_known(known: OnDisk, root: Path | None) -> Report:
    found = known.find(root)
    if found is None:
        problems = [f"the images were not found: {known.tried(root)}"]
        return Report(known.name, problems=problems, fetch=_how_to_fetch(known, root))
    report = Report(known.name, str(found.folder), found.layout.title)
    try:
        listing = found.layout.read(found.folder, known.classes)
    except VLPromptError as error:
        report.problems.append(str(error))
        report.fetch = _how_to_fetch(known, root)
        return report
    report.problems += listing.problems
    lost = set(listing.missing())
    if lost:
        report.problems.append(describe_images(sorted(lost), f"missing from {found.layout.title}"))
        for items in listing.splits().values():
            items[:] = [item for item in items if item.path not in lost]
    dataset = known.dataset(listing)
    _count(report, dataset)
    _compare_sizes(report, dataset, found.layout.sizes)
    _check_images(report, dataset, own=False)
    if not found.layout.standard:
        report.notes.append("papers use another split, so their numbers cannot be compared with yours")
    if listing.words and not listing.problems:
        report.notes.append(
            f"{len(listing.words)} class names come from a file in the folder and differ from the built-in ones"
        )
    there = {split: sum(counts.values()) for split, counts in report.counts.items()}
    there["all"] = sum(there.values())
    if lost or any(there.get(split, 0) < size.images for split, size in found.layout.sizes.items()):
        report.fetch = _how_to_fetch(known, root)
    elif not found.layout.standard:
        report.fetch = _ways([layout for layout in known.layouts if layout.standard], root)
    return report


def _how_to_fetch(known: OnDisk, root: Path | None) -> dict[str, tuple[str, ...]]:
    ways: dict[str, tuple[str, ...]] = {}
    if known.torchvision is not None:
        ways["by torchvision"] = (f"vlprompt data fetch {known.name}",)
    return ways | _ways(known.layouts, root)


def _ways(layouts: Iterable[Layout], root: Path | None) -> dict[str, tuple[str, ...]]:
    return {f"{layout.title}, into {data_root(root) / layout.folders[0]}": layout.fetch for layout in layouts}


def _splits(dataset: Dataset) -> dict[str, tuple[Item, ...]]:
    return {split: items for split, items in dataset.splits().items() if items}


def _count(report: Report, dataset: Dataset) -> None:
    report.classes = len(dataset.class_names)
    for split, items in _splits(dataset).items():
        counts = Counter(item.label for item in items)
        report.counts[split] = {name: counts[label] for label, name in enumerate(dataset.class_names)}


def _compare_sizes(report: Report, dataset: Dataset, sizes: Mapping[str, Size]) -> None:
    parts = _splits(dataset)
    for split, size in sizes.items():
        items = [item for part in parts.values() for item in part] if split == "all" else parts.get(split, ())
        report.published[split] = size.images
        if len(items) != size.images:
            where = "the dataset" if split == "all" else split
            report.problems.append(
                f"{where} must have {counted(size.images, 'image')} as published, got {len(items):,}"
            )
        if size.each is not None and items:
            least, most = size.each
            counts = Counter(item.label for item in items)
            wrong = [
                f"{name} {counts[label]:,}"
                for label, name in enumerate(dataset.class_names)
                if not least <= counts[label] <= most
            ]
            if wrong:
                each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
                report.problems.append(f"{split} must have {each} images per class, got {listed(wrong, quote=False)}")


def _check_images(report: Report, dataset: Dataset, *, own: bool) -> None:
    """Report images that are unreadable, repeated, or in several classes or splits."""
    report.problems += dataset.corrections
    parts = _splits(dataset)
    rows = Counter((item.path, split, item.label) for split, items in parts.items() for item in items)
    by_path: dict[str, set[str]] = {}
    for path, split, _ in rows:
        by_path.setdefault(path, set()).add(split)
    paths = sorted(by_path)
    report.unreadable |= find_unreadable(dataset.root, paths)
    copies = first_copies(dataset.root, [path for path in paths if path not in report.unreadable])
    report.problems += several_classes((path, path, label) for path, _, label in rows)
    repeated = sorted({path for (path, _, _), count in rows.items() if count > 1})
    if repeated:
        report.notes.append(describe_images(repeated, "more than once in a split"))
    if report.unreadable:
        reasons = [f"{path} ({reason})" for path, reason in report.unreadable.items()]
        report.problems.append(describe_images(reasons, "cannot be read"))
    twice = [path for path in paths if len(by_path[path]) > 1]
    if twice:
        report.problems.append(describe_images(twice, "in more than one split"))
    pairs = {path: f"{first} = {path}" for path, first in copies.items() if first != path}
    across = [pair for path, pair in pairs.items() if by_path[path] != by_path[copies[path]]]
    # Published datasets may contain copies, and all papers report numbers that include them.
    findings = report.problems if own else report.notes
    if across:
        findings.append(describe_images(across, "duplicated across splits under different names"))
    named = ((copies[path], path, label) for path, _, label in rows if path in copies)
    findings += [line for line in several_classes(named) if " = " in line]
    within = [pair for path, pair in pairs.items() if by_path[path] == by_path[copies[path]]]
    if within and own:
        findings.append(describe_images(within, "duplicated within a split under different names"))
