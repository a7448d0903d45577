"""Find runs, label them, and group them by the conditions under which they are comparable."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.runs.archive import RunFolder, find_records
from vlprompt.runs.labels import method_label, recipe_label, shown
from vlprompt.runs.record import RunRecord


@dataclass(frozen=True, order=True)
class Conditions:
    """Conditions that all runs of a table share.

    Attributes:
        protocol: Name of the protocol.
        backbone: Name of the backbone.
        weights: Hash of the backbone's weights.
        precision: Precision of the frozen weights.
        recipe: "unified" or "paper", with the settings that differ from it.
        shots: Training images per class if the columns are the protocol's tests; 0 if they are numbers of shots.
        targets: Names of the other datasets that the runs are tested on.
    """

    protocol: str
    backbone: str
    weights: str
    precision: str
    recipe: str
    shots: int = 0
    targets: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """All conditions on one line."""
        shots = f", {self.shots} shot{'s' * (self.shots > 1)}" if self.shots else ""
        backbone = f"{self.backbone} {self.precision} ({self.weights[:8]})"
        few = len(self.targets) <= 4
        targets = f" to {', '.join(self.targets) if few else f'{len(self.targets)} datasets'}" if self.targets else ""
        return f"{self.protocol}{targets}{shots}, recipe {self.recipe}, backbone {backbone}"


@dataclass(frozen=True)
class Run:
    """Run with its labels in tables.

    Attributes:
        folder: Run folder, on disk or in an archive.
        record: Record of the run.
        conditions: Conditions that it shares with the other runs of its table.
        dataset: Dataset name; splits of one dataset are told apart as "openmoji (split 1a2b3c4d)".
        method: Method name with the options that differ from its recipe's.
    """

    folder: RunFolder
    record: RunRecord
    conditions: Conditions
    dataset: str
    method: str

    @property
    def finished(self) -> bool:
        """Whether the run is finished and so has metrics."""
        return self.record.status == "finished"

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the run's tests, in order."""
        return tests_of(self.record)

    @property
    def shots(self) -> int:
        """Training images per class."""
        return self.record.config.data.shots

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.record.config.seed


def find_runs(places: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Find all runs in folders and zip archives, unfinished ones included.

    Copies of the same run count once.

    Args:
        places: Folders, which are searched at any depth, or zip archives of run folders.

    Returns:
        The runs, and one line for each record or archive that is left out.

    Raises:
        VLPromptError: A place does not exist, or no run is found.

    Examples:
        >>> runs, left_out = find_runs([Path("results/unified-few-shot.zip")])  # doctest: +SKIP
    """
    places = list(places)
    found: dict[str, tuple[RunFolder, RunRecord]] = {}
    left_out: list[str] = []
    for place in places:
        records, problems = find_records(place)
        left_out += problems
        for folder, record in records:
            known = found.get(record.result_hash)
            if record.has_data and (known is None or known[1].status != "finished"):
                found[record.result_hash] = (folder, record)
    if not found:
        reason = f": {left_out[0]}" if left_out else "; make some with `vlprompt run`"
        raise VLPromptError(f"no runs found in {', '.join(map(str, places))}{reason}")
    return _labeled(list(found.values())), left_out


def tests_of(record: RunRecord) -> tuple[str, ...]:
    """Return the names of a record's tests.

    Older records do not list them; fall back to the tests that have metrics, or else to the protocol's.
    """
    measured = [test for test, values in record.metrics.items() if isinstance(values, dict)]
    return tuple(record.tests or measured or PROTOCOLS[record.config.protocol].tests)


def _labeled(found: list[tuple[RunFolder, RunRecord]]) -> list[Run]:
    splits = _splits([record for _, record in found])
    splits_of_name: dict[tuple[str, ...], set[str]] = {}
    for split, (_, record) in zip(splits, found, strict=True):
        splits_of_name.setdefault(_name(record), set()).add(split)
    runs = []
    for split, (folder, record) in zip(splits, found, strict=True):
        config, backbone, name = record.config, record.backbone, _dataset(record)
        conditions = Conditions(
            protocol=config.protocol,
            backbone=_backbone(record),
            weights=backbone.weight_hash,
            precision=config.backbone.precision,
            recipe=recipe_label(config),
            shots=0 if tests_of(record) == ("test",) else config.data.shots,
            targets=_targets(record),
        )
        dataset = f"{name} (split {split[:8].strip()})" if len(splits_of_name[_name(record)]) > 1 else name
        runs.append(Run(folder, record, conditions, dataset, method_label(config, record.split.template)))
    return runs


def _splits(records: list[RunRecord]) -> list[str]:
    """Return a key for the split of each record: the images that shots are drawn from, and those of the tests.

    If the same seed drew different shots from the same images, the key is the draw itself.
    """
    draws: dict[tuple[str, str, int, int], set[str]] = {}
    for record in records:
        draws.setdefault(_draw(record), set()).add(record.split.content)
    return [
        record.split.content if len(draws[_draw(record)]) > 1 else f"{_images(record)} {_dataset(record)}"
        for record in records
    ]


def _name(record: RunRecord) -> tuple[str, ...]:
    """Return the key under which different splits must be told apart: protocol, dataset and targets."""
    return record.config.protocol, _dataset(record), *_targets(record)


def _draw(record: RunRecord) -> tuple[str, str, int, int]:
    config = record.config
    return _dataset(record), _images(record), config.data.shots, config.seed


def _images(record: RunRecord) -> str:
    """Return the hash of the images that shots are drawn from (by name) and of those tested (by content)."""
    hashes = [record.split.pool, *(test.hash for test in record.tests.values())]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _targets(record: RunRecord) -> tuple[str, ...]:
    return tuple(test for test in tests_of(record) if test not in PROTOCOLS[record.config.protocol].tests)


def _backbone(record: RunRecord) -> str:
    """Return the backbone's name, with the options that it was loaded with."""
    options = record.config.backbone.model_dump(mode="json", include=set(record.config.backbone.options))
    listed = ",".join(f"{key}={shown(value)}" for key, value in options.items())
    return record.backbone.name + (f"[{listed}]" if listed else "")


def _dataset(record: RunRecord) -> str:
    return Path(record.config.data.source).name
