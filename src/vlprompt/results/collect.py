"""Which runs there are under a folder, and which of them may stand beside one another."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlprompt.errors import VLPromptError
from vlprompt.protocols.protocol import PROTOCOLS
from vlprompt.settings import method_label, recipe_label
from vlprompt.training.record import RunRecord, read_record


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
    """

    protocol: str
    backbone: str
    weights: str
    precision: str
    recipe: str
    shots: int = 0


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
    problems = []
    for folder in folders:
        if not folder.is_dir():
            raise VLPromptError(f"{folder} is no folder; give one that `vlprompt run` or `vlprompt tune` wrote into")
        for path in sorted(folder.rglob("run.json")):
            try:
                record = read_record(path.parent)
            except VLPromptError as error:
                problems.append(str(error))
                continue
            known = found.get(record.result_hash)
            if record.status != "imported" and (known is None or known[1].status != "finished"):
                found[record.result_hash] = (path.parent, record)
    if not found:
        raise VLPromptError(f"there are no runs under {', '.join(map(str, folders))}; make some with `vlprompt run`")
    return _named(list(found.values())), problems


def _named(found: list[tuple[Path, RunRecord]]) -> list[Run]:
    splits = _splits([record for _, record in found])
    names = {split: _dataset(record) for split, (_, record) in zip(splits, found, strict=True)}
    several = {name for name, count in Counter(names.values()).items() if count > 1}
    templates: dict[str, Counter[str]] = {}
    for split, (_, record) in zip(splits, found, strict=True):
        templates.setdefault(split, Counter())[repr(record.config.method.options.get("template"))] += 1
    runs = []
    for split, (folder, record) in zip(splits, found, strict=True):
        config, backbone, name = record.config, record.backbone, names[split]
        template = config.method.options.get("template")
        # Records do not say whether a template was given or the dataset's own; the usual one is taken for the latter.
        usual = repr(template) == templates[split].most_common(1)[0][0]
        section = Section(
            protocol=config.protocol,
            backbone=backbone.name,
            weights=backbone.weight_hash,
            precision=config.backbone.precision,
            recipe=recipe_label(config),
            shots=config.data.shots if len(PROTOCOLS[config.protocol].tests) > 1 else 0,
        )
        dataset = f"{name} (split {split[:8].strip()})" if name in several else name
        runs.append(Run(folder, record, section, dataset, method_label(config, template if usual else None)))
    return runs


def _splits(records: list[RunRecord]) -> list[str]:
    """What tells the split of each record from others: the pool that shots are drawn from.

    Where the same pool, shots and seed were drawn differently all the same, the draw itself.
    """
    draws: dict[tuple[str, str, int, int], set[str]] = {}
    for record in records:
        draws.setdefault(_draw(record), set()).add(record.split.hash)
    return [
        record.split.hash if len(draws[_draw(record)]) > 1 else f"{record.split.pool or 'unknown'} {_dataset(record)}"
        for record in records
    ]


def _draw(record: RunRecord) -> tuple[str, str, int, int]:
    config = record.config
    return _dataset(record), record.split.pool, config.data.shots, config.seed


def _dataset(record: RunRecord) -> str:
    return Path(record.config.data.source).name
