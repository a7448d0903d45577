"""A grid of runs: methods x datasets x shots x seeds under one protocol, each cell a run's folder."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from vlprompt.backbones import Backbone, load_backbone
from vlprompt.config import RunConfig, parse_config
from vlprompt.data import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.progress import Reporter
from vlprompt.protocols.run import load_pool, open_task, tune
from vlprompt.settings import method_label, put_settings, read_value, resolve
from vlprompt.training.record import RunRecord, read_record


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        label: for people, such as "openmoji, dapt, 16 shots, seed 1".
        method: with the options that are not its recipe's, such as "dapt[beta_text=0]".
        config: of the run.
        folder: of the run.
        work: training images times epochs, which the time of a method's runs is taken to grow with.
    """

    label: str
    method: str
    config: RunConfig
    folder: Path
    work: int


@dataclass
class Grid:
    """The planned cells, and what they share.

    Attributes:
        cells: in the order they are run: seed by seed, so that an interrupted grid holds whole seeds.
        backbone: loaded once for all.
        pools: the datasets by their source, likewise.
        records: of the cells that are there, by folder; those that are not finished will be gone on with.
    """

    cells: list[Cell]
    backbone: Backbone
    pools: dict[str, Dataset]
    records: dict[Path, RunRecord] = field(default_factory=dict)

    @property
    def finished(self) -> list[Cell]:
        """Cells whose finished record is there."""
        return [cell for cell in self.cells if self._finished(cell)]

    def run(self, reporter: Reporter) -> dict[Path, str]:
        """Run what is not finished, one cell after another.

        Returns:
            what went wrong, by the cell's folder. Ctrl-C raises KeyboardInterrupt, and the same grid can go on.
        """
        failed: dict[Path, str] = {}
        left = [cell for cell in self.cells if not self._finished(cell)]
        begun = len(self.cells) - len(left)
        with reporter.bar("cells", clock=False) as bar:
            for number, cell in enumerate(left, start=begun + 1):
                bar(number - 1, len(self.cells), cell.label)
                try:
                    pool = self.pools[cell.config.data.source]
                    record = tune(
                        cell.config, cell.folder, resume=True, reporter=reporter, backbone=self.backbone, pool=pool
                    )
                except VLPromptError as error:
                    failed[cell.folder] = str(error)
                    reporter.warn(f"failed: {cell.label}: {error}")
                    continue
                self.records[cell.folder] = record
                ahead = self.seconds_left(left[number - begun :])
                reporter.say(escape(f"{number}/{len(self.cells)}  {_came_to(cell, record)}; {about(ahead)} left"))
            bar(len(self.cells), len(self.cells))
        return failed

    def seconds_left(self, cells: list[Cell] | None = None) -> float | None:
        """Estimate for cells that are not finished, from the times of those that are; None where there is none.

        A method of which nothing is known is taken for an average one.
        """
        if cells is None:
            cells = [cell for cell in self.cells if not self._finished(cell)]
        if not cells:
            return 0.0
        rates: dict[str, list[float]] = {}
        for cell in self.finished:
            seconds = sum(self.records[cell.folder].timings.values())
            rates.setdefault(cell.method, []).append(seconds / cell.work)
        if not rates:
            return None
        means = {method: sum(rate) / len(rate) for method, rate in rates.items()}
        average = sum(means.values()) / len(means)
        return sum(cell.work * means.get(cell.method, average) for cell in cells)

    def summary(self) -> str:
        """One line: how many cells, how many of them are finished or begun, and how long the rest may take."""
        done, begun = len(self.finished), len(self.records) - len(self.finished)
        states = [f"{done} finished"] + ([f"{begun} to go on with"] if begun else [])
        states.append(f"{len(self.cells) - done - begun} to run")
        ahead = self.seconds_left()
        return f"{len(self.cells)} cells: {', '.join(states)}" + (f"; {about(ahead)}" if ahead else "")

    def state(self, cell: Cell) -> str:
        """Status of the cell's record, or "to run" where there is none."""
        return self.records[cell.folder].status if cell.folder in self.records else "to run"

    def _finished(self, cell: Cell) -> bool:
        return self.state(cell) == "finished"


def plan(
    protocol: str,
    methods: list[str],
    datasets: list[str],
    *,
    shots: list[int],
    seeds: list[int],
    out: Path,
    recipe: str | None = None,
    flags: dict[str, Any] | None = None,
    settings: list[str] | None = None,
) -> Grid:
    """All cells of a grid, checked before any work starts.

    Args:
        protocol: name of the protocol.
        methods: names, with options in brackets where they are not the recipe's: "dapt[beta_text=0,n_text=8]".
        datasets: names or paths.
        shots: training images of each class.
        seeds: of the runs.
        out: the grid's folder; cells are PROTOCOL/DATASET/METHOD/shots-K/seed-S in it.
        recipe: as in `settings.resolve`; one that names a method is refused.
        flags: values for every cell by dotted key, such as "backbone.source".
        settings: KEY=VALUE for every cell, over everything else.

    Raises:
        VLPromptError: whatever is wrong with a method, dataset or option; a method that the protocol cannot test; or
            a cell that holds another run already.
    """
    configs = [
        _config(method, source, protocol, recipe, {**(flags or {}), "data.shots": count, "seed": seed}, settings or [])
        for seed in seeds
        for source in datasets
        for count in shots
        for method in methods
    ]
    if not configs:
        raise VLPromptError("a grid needs a method, a dataset, a number of shots and a seed; give each at least one")
    base = configs[0].backbone
    pools = {source: load_pool(data) for source, data in {c.data.source: c.data for c in configs}.items()}
    backbone = load_backbone(base.source, base.precision, configs[0].runtime.device)
    _check_methods(configs[: len(methods)], backbone, pools[datasets[0]])

    grid = Grid([], backbone, pools)
    folders: set[Path] = set()
    others: list[Path] = []
    for config in configs:
        task = open_task(config, backbone, pools[config.data.source])
        cell = _cell(config, task.dataset.name, len(task.shots.train), out)
        if cell.folder in folders:
            raise VLPromptError(f"the grid has {cell.label} twice; leave one of the two out")
        folders.add(cell.folder)
        grid.cells.append(cell)
        record = _earlier(cell.folder)
        if record is not None:
            grid.records[cell.folder] = record
            others += [cell.folder] * (record.result_hash != task.result_hash)
    if others:
        cells = f"{others[0]} holds a run" if len(others) == 1 else f"{others[0]} and {len(others) - 1} more hold runs"
        raise VLPromptError(f"{cells} with other settings, images or weights; choose another --out")
    return grid


def split_list(text: str) -> list[str]:
    """Parts between the commas of a list; those in brackets belong to their part: "a,b[c=1,d=2]" has two."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise VLPromptError(f"{text}: a bracket is not closed, or not opened; write NAME[KEY=VALUE,KEY=VALUE]")
    return [part.strip() for part in parts if part.strip()]


def numbers(option: str, text: str) -> list[int]:
    """The whole numbers of a list such as "1,4,16"."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise VLPromptError(f"{option} {text}: write whole numbers with commas between them, such as 1,4,16") from error


def about(seconds: float | None) -> str:
    """A time as people say it: "about 2 h 10 min"."""
    if seconds is None:
        return "unknown time"
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return "about " + (f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min")


def _config(
    method: str, source: str, protocol: str, recipe: str | None, flags: dict[str, Any], settings: list[str]
) -> RunConfig:
    """A cell's run; the method's options in brackets go over its recipe's."""
    found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", method, re.DOTALL)
    if found is None:
        raise VLPromptError(f"--methods {method}: write NAME or NAME[KEY=VALUE,KEY=VALUE]")
    name, options = found[1].strip(), found[2]
    values = resolve(name, protocol, recipe, {"data.source": source, **flags}, [])
    if values["method"]["name"] != name:
        raise VLPromptError(f"--recipe {recipe} is one method's; give a grid one without a section `method`")
    values["protocol"] = protocol
    for option in split_list(options or ""):
        key, equals, text = option.partition("=")
        if not equals:
            raise VLPromptError(f"--methods {method}: write options as NAME[KEY=VALUE,KEY=VALUE]")
        values["method"][key.strip()] = read_value(text)
    put_settings(values, settings)
    return parse_config(values)


def _check_methods(configs: list[RunConfig], backbone: Backbone, pool: Dataset) -> None:
    """Make every method once: options that do not fit the backbone, and methods that do not fit the protocol, fail."""
    bound = []
    for config in configs:
        task = open_task(config, backbone, pool)
        if task.cannot_name_new(task.method()):
            bound.append(method_label(config))
    if bound:
        raise VLPromptError(
            f"--methods {', '.join(bound)}: with these options they cannot name new classes, which protocol "
            f"{configs[0].protocol!r} tests; leave them out, or use protocol few-shot"
        )


def _cell(config: RunConfig, dataset: str, images: int, out: Path) -> Cell:
    method, shots = method_label(config), config.data.shots
    folder = out / config.protocol / _file_name(dataset) / _file_name(method) / f"shots-{shots}" / f"seed-{config.seed}"
    label = f"{dataset}, {method}, {shots} shot{'s' * (shots > 1)}, seed {config.seed}"
    return Cell(label, method, config, folder, images * config.optim.epochs)


def _file_name(label: str) -> str:
    """A label as a file name without blanks and brackets; what had to be left out is told apart by a hash."""
    plain = label.replace("[", ",").replace("]", "")
    safe = re.sub(r"[^\w.,=+-]+", "_", plain)[:80].lstrip(".")
    return safe if safe == plain else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def _earlier(folder: Path) -> RunRecord | None:
    try:
        return read_record(folder)
    except VLPromptError:
        return None  # there is none; or one that cannot be read, which is said when its turn comes


def _came_to(cell: Cell, record: RunRecord) -> str:
    accuracies = [
        f"{test} {values['accuracy']:.1f}%" for test, values in record.metrics.items() if isinstance(values, dict)
    ]
    return f"{cell.label}: {', '.join(accuracies)} in {sum(record.timings.values()):.0f} s"
