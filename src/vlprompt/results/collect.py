"""Which runs there are under a folder, and which of them may stand beside one another."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.errors import VLPromptError
from vlprompt.runs.labels import method_label, recipe_label
from vlprompt.runs.record import RunRecord, read_records


@dataclass(frozen=True, order=True)
class Section:
    """What all runs of a table have in common.

    Attributes:
        protocol: its name.
        backbone: its name.
        weights: hash of its weights.
        precision: of the frozen weights.
        recipe: "unified" or "paper", and what was changed.
        shots: of the runs, where the columns are the protocol's tests; 0 where they are numbers of shots.
        targets: names of the other datasets that the runs are tested on.
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
        """All of it, in a line."""
        shots = f", {self.shots} shot{'s' * (self.shots > 1)}" if self.shots else ""
        backbone = f"{self.backbone} {self.precision} ({self.weights[:8]})"
        few = len(self.targets) <= 4
        targets = f" to {', '.join(self.targets) if few else f'{len(self.targets)} datasets'}" if self.targets else ""
        return f"{self.protocol}{targets}{shots}, recipe {self.recipe}, backbone {backbone}"


@dataclass(frozen=True)
class Run:
    """A run and what a table calls it.

    `dataset` tells apart splits of the same dataset: "openmoji", or "openmoji (split 1a2b3c4d)" where there are more.
    """

    folder: Path
    record: RunRecord
    section: Section
    dataset: str
    method: str

    @property
    def finished(self) -> bool:
        """Only then it has metrics."""
        return self.record.status == "finished"

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the run's tests, in their order."""
        return tests_of(self.record)

    @property
    def shots(self) -> int:
        """Training images of each class."""
        return self.record.config.data.shots

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.record.config.seed


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """All runs under the folders, unfinished ones included, and a line for each that cannot be read.

    The same run in several places counts once.

    Raises:
        VLPromptError: a folder is not there, or there is no run at all.
    """
    found: dict[str, tuple[Path, RunRecord]] = {}
    problems: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise VLPromptError(f"{folder} is no folder; give one that `vlprompt run` or `vlprompt tune` wrote into")
        records, unreadable = read_records(folder)
        problems += unreadable
        for place, record in records.items():
            known = found.get(record.result_hash)
            if record.has_data and (known is None or known[1].status != "finished"):
                found[record.result_hash] = (place, record)
    if not found:
        raise VLPromptError(f"there are no runs under {', '.join(map(str, folders))}; make some with `vlprompt run`")
    return _named(list(found.values())), problems


def tests_of(record: RunRecord) -> tuple[str, ...]:
    """Names of a record's tests; of one from before records listed them, those it has metrics of, or the protocol's."""
    measured = [test for test, values in record.metrics.items() if isinstance(values, dict)]
    return tuple(record.tests or measured or PROTOCOLS[record.config.protocol].tests)


def _named(found: list[tuple[Path, RunRecord]]) -> list[Run]:
    splits = _splits([record for _, record in found])
    same_name: dict[tuple[str, ...], set[str]] = {}
    for split, (_, record) in zip(splits, found, strict=True):
        same_name.setdefault(_name(record), set()).add(split)
    runs = []
    for split, (folder, record) in zip(splits, found, strict=True):
        config, backbone, name = record.config, record.backbone, _dataset(record)
        section = Section(
            protocol=config.protocol,
            backbone=backbone.name,
            weights=backbone.weight_hash,
            precision=config.backbone.precision,
            recipe=recipe_label(config),
            shots=0 if tests_of(record) == ("test",) else config.data.shots,
            targets=_targets(record),
        )
        dataset = f"{name} (split {split[:8].strip()})" if len(same_name[_name(record)]) > 1 else name
        runs.append(Run(folder, record, section, dataset, method_label(config, record.split.template)))
    return runs


def _splits(records: list[RunRecord]) -> list[str]:
    """What tells the split of each record from others: the images that shots are drawn from, and those of the tests.

    Where shots of the same seed are others all the same, the draw itself.
    """
    draws: dict[tuple[str, str, int, int], set[str]] = {}
    for record in records:
        draws.setdefault(_draw(record), set()).add(record.split.content)
    return [
        record.split.content if len(draws[_draw(record)]) > 1 else f"{_images(record)} {_dataset(record)}"
        for record in records
    ]


def _name(record: RunRecord) -> tuple[str, ...]:
    """What must not be called the same where splits differ: a dataset in tables of one kind."""
    return record.config.protocol, _dataset(record), *_targets(record)


def _draw(record: RunRecord) -> tuple[str, str, int, int]:
    config = record.config
    return _dataset(record), _images(record), config.data.shots, config.seed


def _images(record: RunRecord) -> str:
    """Hash of the images that shots are drawn from, by their names, and of the tested ones, by what is in them."""
    hashes = [record.split.pool, *(test.hash for test in record.tests.values())]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _targets(record: RunRecord) -> tuple[str, ...]:
    return tuple(test for test in tests_of(record) if test not in PROTOCOLS[record.config.protocol].tests)


def _dataset(record: RunRecord) -> str:
    return Path(record.config.data.source).name
