"""Check a dataset: are its images there, readable, and in the classes and splits they should be in?"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.datasets.known import Size
from vlprompt.data.datasets.on_disk import Layout, OnDisk, data_root
from vlprompt.data.file_facts import content_hashes, find_unreadable
from vlprompt.data.loading import DATASETS, load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed


@dataclass
class Report:
    """Result of checking a dataset.

    Attributes:
        name: of the dataset.
        folder: of its images; None if they were not found.
        layout: title of the layout that was found; "" for a user's own dataset.
        classes: number of classes.
        counts: number of images by split and class.
        published: number of images by split, if published.
        problems: a line for each problem to fix; empty if none was found.
        notes: a line for each thing that is worth knowing.
        unreadable: why images cannot be read, by path.
        fetch: lines on what to do or download, by way to get the dataset; only if images are missing, or papers use
            another split.
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
    fetch: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data for JSON."""
        return asdict(self)


def inspect(source: str, root: Path | None = None) -> Report:
    """Check a dataset by its name, or a user's own. Every image is decoded, and all files are compared.

    Args:
        source: as in `load_dataset`.
        root: as in `load_dataset`.

    Returns:
        The report; a dataset without problems has none in `Report.problems`.

    Raises:
        VLPromptError: a user's own source cannot be loaded.

    Examples:
        >>> inspect("oxford-pets").problems  # doctest: +SKIP
        []
    """
    entry = DATASETS.get(source) if source in DATASETS else None
    if isinstance(entry, OnDisk):
        return _inspect_known(entry, root)
    dataset = load_dataset(source, root=root)
    report = Report(dataset.name, str(dataset.root), unreadable=dict(dataset.skipped))
    _count(report, dataset)
    _look_inside(report, dataset, own=True)
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
        report.problems.append(
            f"{_images(len(lost))} of {found.layout.title} missing: {listed(sorted(lost), quote=False)}"
        )
        for items in listing.splits().values():
            items[:] = [item for item in items if item.path not in lost]
    dataset = known.dataset(listing)
    _count(report, dataset)
    _compare_sizes(report, dataset, found.layout.sizes)
    _look_inside(report, dataset, own=False)
    if not found.layout.standard:
        report.notes.append("papers use another split; their numbers cannot be compared with yours")
    if listing.words and not listing.problems:
        report.notes.append(f"{len(listing.words)} class names come from a file in the folder and differ from ours")
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
            where = "it" if split == "all" else split
            report.problems.append(f"{where} must have {_images(size.images)} as published, got {len(items):,}")
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
                report.problems.append(
                    f"{split} must have {each} images of each class, got of {listed(wrong, quote=False)}"
                )


def _look_inside(report: Report, dataset: Dataset, *, own: bool) -> None:
    """Find images that cannot be read, or that are in two splits, in two classes, or there twice."""
    parts = _splits(dataset)
    rows = Counter((item.path, split, item.label) for split, items in parts.items() for item in items)
    classes = Counter(path for path, _ in {(path, label) for path, _, label in rows})
    torn = sorted(path for path, count in classes.items() if count > 1)
    if torn:
        report.problems.append(f"{_images(len(torn))} in more than one class: {listed(torn, quote=False)}")
    repeated = sorted({path for (path, _, _), count in rows.items() if count > 1})
    if repeated:
        report.notes.append(f"{_images(len(repeated))} more than once in a split: {listed(repeated, quote=False)}")
    by_path: dict[str, set[str]] = {}
    for split, items in parts.items():
        for item in items:
            by_path.setdefault(item.path, set()).add(split)
    paths = sorted(by_path)
    report.unreadable |= find_unreadable(dataset.root, paths)
    if report.unreadable:
        reasons = [f"{path} ({reason})" for path, reason in report.unreadable.items()]
        report.problems.append(f"{_images(len(reasons))} cannot be read: {listed(reasons, quote=False)}")
    twice = [path for path in paths if len(by_path[path]) > 1]
    if twice:
        report.problems.append(f"{_images(len(twice))} in more than one split: {listed(twice, quote=False)}")
    copies = _copies(dataset.root, {path: by_path[path] for path in paths if path not in report.unreadable})
    if copies:
        # A published dataset may contain copies, and all papers that use it were measured with them.
        (report.problems if own else report.notes).append(
            f"{_images(len(copies))} of one split also in another, under other names: {listed(copies, quote=False)}"
        )


def _copies(root: Path, by_path: Mapping[str, Iterable[str]]) -> list[str]:
    """Return pairs of files of two splits that are the same byte for byte."""
    paths = list(by_path)
    first: dict[str, str] = {}
    pairs = []
    for path, digest in zip(paths, content_hashes(root, paths), strict=True):
        other = first.setdefault(digest, path)
        if set(by_path[other]) != set(by_path[path]):
            pairs.append(f"{other} = {path}")
    return pairs


def _images(count: int) -> str:
    return f"{count:,} image" + ("s" if count != 1 else "")
