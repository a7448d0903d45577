"""Plan a grid: methods x datasets x shots x seeds under one protocol."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.resolve import parse_method, resolve_config
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import expand_groups
from vlprompt.errors import VLPromptError
from vlprompt.experiments.grid import Cell, Grid
from vlprompt.experiments.rehearsal import SharedFeatures
from vlprompt.experiments.run import new_record
from vlprompt.experiments.task import Task, load_configured, load_pool, open_tasks
from vlprompt.runs.labels import method_label
from vlprompt.runs.record import read_records
from vlprompt.utils.strings import listed


def plan_grid(
    protocol: str,
    methods: Sequence[str],
    datasets: Sequence[str],
    *,
    shots: Sequence[int] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    out: str | Path,
    recipe: str | None = None,
    targets: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Grid:
    """Plan all cells of a grid and check them before any work starts.

    Args:
        protocol: name of the protocol.
        methods: method names, with options that override the recipe in brackets: "dapt[beta_text=0,n_text=8]".
        datasets: names or paths of datasets, or names of groups of datasets, such as "pictobench".
        shots: numbers of training images per class; None for the protocol's defaults.
        seeds: seeds, one run each.
        out: grid folder; the run folder of a cell is PROTOCOL/DATASET/METHOD/shots-K/seed-S in it.
        recipe: recipe of all cells, as in `resolve_config`.
        targets: names or paths of other datasets to test on, or names of groups; None for the protocol's default,
            which in cross-dataset is all `datasets` but the one that is trained on.
        settings: settings of all cells by dotted key, as in `resolve_config`; they override everything else.

    Raises:
        VLPromptError: a method, dataset, option or setting is invalid, a method cannot run the protocol's tests, or a
            cell's folder holds another run.

    Examples:
        >>> grid = plan_grid("few-shot", ["coop", "dapt"], ["openmoji"], shots=[1, 16], out="runs")  # doctest: +SKIP
        >>> len(grid.cells)  # doctest: +SKIP
        12
    """
    if shots is None:
        shots = (
            PROTOCOLS[protocol].shots if protocol in PROTOCOLS else (16,)
        )  # `resolve_config` raises for unknown protocols
    datasets = expand_groups(datasets)
    parsed = [parse_method(method) for method in methods]
    further = {source: _targets(protocol, source, datasets, targets) for source in datasets}
    configs = [
        resolve_config(
            method=method,
            protocol=protocol,
            recipe=recipe,
            settings={
                "data.source": source,
                "data.targets": further[source],
                "data.shots": count,
                "seed": seed,
                **options,
                **(settings or {}),
            },
        )
        for seed in seeds
        for source in datasets
        for count in shots
        for method, options in parsed
    ]
    if not configs:
        raise VLPromptError("`methods`, `datasets`, `shots` and `seeds` must not be empty")
    first = configs[0]
    pools = {source: load_pool(data) for source, data in {c.data.source: c.data for c in configs}.items()}
    backbone = load_configured(first)
    step = len(shots) * len(methods)  # cells of one seed and one dataset
    starts = range(0, len(datasets) * step, step)
    checked = [config for start in starts for config in configs[start : start + len(methods)]]
    adapting = _check_methods(checked, backbone, pools)
    return _grid(configs, adapting, backbone, pools, Path(out))


def _grid(
    configs: list[RunConfig], adapting: set[str], backbone: Backbone, pools: dict[str, Dataset], out: Path
) -> Grid:
    """Create the grid of all cells, with the records of those that have started."""
    grid, (records, _) = Grid([], backbone, pools, SharedFeatures(backbone)), read_records(out)
    trained = {
        record.training_hash: folder
        for folder, record in records.items()
        if record.status == "finished" and record.history
    }
    folders: set[Path] = set()
    occupied: list[Path] = []
    for config, task in zip(configs, open_tasks(configs, backbone, pools), strict=True):
        features = grid.features.needed(task, adapts_images=method_label(config) in adapting)
        cell = _cell(config, task, out, features, trained.get(task.training_hash))
        if cell.folder in folders:
            raise VLPromptError(f"the grid contains {cell.label} twice; remove one of them")
        folders.add(cell.folder)
        grid.cells.append(cell)
        record = records.get(cell.folder)  # a damaged one is reported when the cell is run
        if record is not None and record.status != "planned":
            grid.records[cell.folder] = record
            occupied += [cell.folder] * (record.result_hash != task.result_hash)
    if occupied:
        cells = listed(occupied, 1, quote=False) + (" hold runs" if len(occupied) > 1 else " holds a run")
        raise VLPromptError(f"{cells} with other settings, images or weights; choose another folder as `out`")
    return grid


def _targets(protocol: str, source: str, datasets: Sequence[str], targets: Sequence[str] | None) -> list[str] | None:
    """Return the other datasets that a run on `source` is tested on, or None for the protocol's default."""
    if targets is None and protocol in PROTOCOLS and PROTOCOLS[protocol].targets == "own":
        targets = datasets
    return None if targets is None else [target for target in targets if target != source]


def _check_methods(configs: list[RunConfig], backbone: Backbone, pools: dict[str, Dataset]) -> set[str]:
    """Create and check every method before any work starts; one error names all that cannot name new classes.

    Returns:
        the labels of the methods that adapt the image tower.
    """
    bound: list[str] = []
    adapting = set()
    for config, task in zip(configs, open_tasks(configs, backbone, pools), strict=True):
        method = task.method()
        if method.adapts_images:
            adapting.add(method_label(config))
        if task.cannot_name_new(method):
            bound.append(method_label(config))
        else:
            task.check(method)
    if bound:
        raise VLPromptError(
            f"`methods` {', '.join(dict.fromkeys(bound))} cannot name new classes with these options, but `protocol` "
            f"{configs[0].protocol!r} tests them; leave these methods out, or use few-shot or domain-generalization"
        )
    return adapting


def _cell(config: RunConfig, task: Task, out: Path, features: list[str], prompts_from: Path | None) -> Cell:
    method, dataset, shots = method_label(config), task.dataset.name, config.data.shots
    folder = out / config.protocol / _file_name(dataset) / _file_name(method) / f"shots-{shots}" / f"seed-{config.seed}"
    label = f"{dataset}, {method}, {shots} shot{'s' * (shots > 1)}, seed {config.seed}"
    shots_and_val = len(task.shots.train) + len(task.shots.val)
    work = len(task.shots.train) * task.config.optim.epochs
    tested = shots_and_val + sum(len(tested.test) for tested in (task.dataset, *task.targets.values()))
    plan = new_record(task, "planned")
    return Cell(label, dataset, method, config, folder, work, tested, features, plan, prompts_from)


def _file_name(label: str) -> str:
    """Return a label as a file name without spaces and brackets; labels that lose characters get a hash."""
    plain = label.replace("[", ",").replace("]", "")
    safe = re.sub(r"[^\w.,=+-]+", "_", plain)[:80].lstrip(".")
    return safe if safe == plain else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
