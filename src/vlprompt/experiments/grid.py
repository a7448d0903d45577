"""A grid of runs: methods x datasets x shots x seeds under one protocol, each cell a run's folder."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.resolve import AUGMENTATION, method_label, put_settings, read_value, resolve
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.engines.engine import Engine, Job
from vlprompt.experiments.engines.local import Here
from vlprompt.experiments.engines.worker import Worker
from vlprompt.experiments.rehearsal import Pace, mean_pace, rehearse
from vlprompt.experiments.run import new_record
from vlprompt.experiments.task import Task, load_pool, open_task
from vlprompt.runs.record import RunRecord, read_record, read_records
from vlprompt.utils.locks import Lock, holder, try_lock
from vlprompt.utils.progress import Reporter


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        label: for people, such as "openmoji, dapt, 16 shots, seed 1".
        dataset: its name.
        method: with the options that are not its recipe's, such as "dapt[beta_text=0]".
        config: of the run.
        folder: of the run.
        work: training images times epochs, which the time of a method's training is taken to grow with.
        tested: images that are tested, which the time of its tests is taken to grow with.
        plan: the record that says that the cell is to be run.
        prompts_from: a finished run under the same --out that learned what this one would learn.
    """

    label: str
    dataset: str
    method: str
    config: RunConfig
    folder: Path
    work: int
    tested: int
    plan: RunRecord
    prompts_from: Path | None = None


@dataclass
class Grid:
    """The planned cells, and what they share.

    Attributes:
        cells: in the order they are run: seed by seed, so that an interrupted grid holds whole seeds.
        backbone: loaded once for all.
        pools: the datasets by their source, targets among them, likewise.
        records: of the cells that are there, by folder; those that are not finished will be gone on with.
        paces: what was measured of methods without a finished cell, by their labels.
    """

    cells: list[Cell]
    backbone: Backbone
    pools: dict[str, Dataset]
    records: dict[Path, RunRecord] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)

    @property
    def finished(self) -> list[Cell]:
        """Cells whose finished record is there."""
        return [cell for cell in self.cells if self._finished(cell)]

    def run(self, reporter: Reporter, engine: Engine | None = None) -> dict[Path, str]:
        """Run what is not finished. A cell that another process runs meanwhile is left to it.

        Args:
            reporter: shows progress.
            engine: what runs the cells; None: this process, one after another.

        Returns:
            what went wrong, by the cell's folder. Ctrl-C raises KeyboardInterrupt, and the same grid can go on.
        """
        engine = engine or Here(Worker(self.backbone, self.pools))
        self._announce()
        failed: dict[Path, str] = {}
        running: dict[str, tuple[Cell, Lock]] = {}
        left = [cell for cell in self.cells if not self._finished(cell)]

        def fail(cell: Cell, reason: str) -> None:
            failed[cell.folder] = reason
            reporter.warn(f"failed: {cell.label}: {reason}")

        def show() -> None:
            labels = [cell.label for cell, _ in running.values()]
            note = f"{len(labels)} at work" if len(labels) > 1 else "".join(labels)
            bar(len(self.cells) - len(left), len(self.cells), note)

        def jobs() -> Iterator[Job]:
            waiting = list(left)
            for _ in range(2):  # those that another process holds come once more, after the others
                held = []
                for cell in waiting:
                    lock = try_lock(_lock_file(cell))
                    if lock is None:
                        held.append(cell)
                        continue
                    running[str(cell.folder)] = cell, lock
                    show()
                    yield _job(cell)
                waiting = held
            for cell in waiting:
                fail(cell, f"{holder(_lock_file(cell))} is at it")

        with reporter.bar("cells", clock=False) as bar:
            try:
                with closing(engine.run(jobs(), reporter)) as ended:
                    for job, error in ended:
                        cell, lock = running.pop(job["folder"])
                        lock.release()
                        left.remove(cell)
                        show()
                        if error is not None:
                            fail(cell, error)
                            continue
                        record = self.records[cell.folder] = read_record(cell.folder)
                        ahead = self.seconds_left(left)
                        rest = about(ahead and ahead / engine.parallel)
                        done = f"{len(self.cells) - len(left)}/{len(self.cells)}"
                        reporter.say(escape(f"{done}  {_came_to(cell, record)}; {rest} left"))
            finally:
                for _, lock in running.values():
                    lock.release()
        return failed

    def rehearse(self, reporter: Reporter) -> None:
        """Measure the methods that no finished cell tells the pace of, each on a batch of its first cell."""
        known = {cell.method for cell in self.finished}
        first: dict[str, Cell] = {}
        for cell in self.cells:
            if cell.method not in known and cell.prompts_from is None:
                first.setdefault(cell.method, cell)
        if not first:
            return
        tasks = _tasks([cell.config for cell in first.values()], self.backbone, self.pools)
        with reporter.bar("measure") as bar:
            for number, (method, task) in enumerate(zip(first, tasks, strict=True)):
                bar(number, len(first), method)
                self.paces[method] = rehearse(task)

    def seconds_left(self, cells: list[Cell] | None = None) -> float | None:
        """Estimate for cells that are not finished, from the times of those that are or of a rehearsal; None where
        there is none.

        A method of which nothing is known is taken for an average one.
        """
        if cells is None:
            cells = [cell for cell in self.cells if not self._finished(cell)]
        if not cells:
            return 0.0
        found: dict[str, list[Pace]] = {}
        for cell in self.finished:
            record = self.records[cell.folder]
            pace = Pace(record.training_seconds / cell.work, record.timings.get("test", 0.0) / cell.tested)
            found.setdefault(cell.method, []).append(pace)
        paces = self.paces | {method: mean_pace(measured) for method, measured in found.items()}
        if not paces:
            return None
        average = mean_pace(list(paces.values()))
        left = 0.0
        for cell in cells:
            pace = paces.get(cell.method, average)
            left += pace.names + pace.test * cell.tested + (0 if cell.prompts_from else pace.train * cell.work)
        return left

    def summary(self, parallel: int = 1) -> str:
        """One line: how many cells, how many of them are finished or begun, and how long the rest may take, so many at
        a time.
        """
        done, begun = len(self.finished), len(self.records) - len(self.finished)
        states = [f"{done} finished"] + ([f"{begun} to go on with"] if begun else [])
        states.append(f"{len(self.cells) - done - begun} to run")
        if learned := sum(cell.prompts_from is not None and not self._finished(cell) for cell in self.cells):
            states.append(f"{learned} of them with prompts that another run learned")
        ahead = self.seconds_left()
        cells = "1 cell" if len(self.cells) == 1 else f"{len(self.cells)} cells"
        return f"{cells}: {', '.join(states)}" + (f"; {about(ahead / parallel)}" if ahead else "")

    def short(self) -> list[str]:
        """A line for each dataset and number of shots that some classes have fewer training images than."""
        lines = []
        for cell in self.cells:
            split, shots = cell.plan.split, cell.config.data.shots
            if split.short:
                classes = "1 class has" if len(split.short) == 1 else f"{len(split.short)} classes have"
                name, count = min(split.short.items(), key=lambda item: item[1])
                lines.append(
                    f"{cell.dataset}: {classes} fewer training images than {shots} shots, {name!r} has {count}; all of "
                    "them are used"
                )
        return list(dict.fromkeys(lines))

    def state(self, cell: Cell) -> str:
        """Status of the cell's record, or "to run" where there is none."""
        return self.records[cell.folder].status if cell.folder in self.records else "to run"

    def _announce(self) -> None:
        """Leave a record in the place of every cell to come, so that tables of a grid that was stopped know them."""
        for cell in self.cells:
            lock = None if cell.folder in self.records else try_lock(_lock_file(cell))
            if lock is None:  # it has begun, here or in another process
                continue
            with lock:
                if _free(cell.folder):
                    cell.plan.write(cell.folder)

    def _finished(self, cell: Cell) -> bool:
        return self.state(cell) == "finished"


def plan(
    protocol: str,
    methods: list[str],
    datasets: list[str],
    *,
    shots: list[int] | None,
    seeds: list[int],
    out: Path,
    recipe: str | None = None,
    targets: list[str] | None = None,
    flags: dict[str, Any] | None = None,
    settings: list[str] | None = None,
) -> Grid:
    """All cells of a grid, checked before any work starts.

    Args:
        protocol: name of the protocol.
        methods: names, with options in brackets where they are not the recipe's: "dapt[beta_text=0,n_text=8]".
        datasets: names or paths.
        shots: training images of each class; None: those of the protocol.
        seeds: of the runs.
        out: the grid's folder; cells are PROTOCOL/DATASET/METHOD/shots-K/seed-S in it.
        recipe: as in `settings.resolve`; one that names a method is refused.
        targets: names or paths of what is tested on besides; None: what the protocol takes, which is for
            cross-dataset the other datasets.
        flags: values for every cell by dotted key, such as "backbone.source".
        settings: KEY=VALUE for every cell, over everything else.

    Raises:
        VLPromptError: whatever is wrong with a method, dataset or option; a method that the protocol cannot test; or
            a cell that holds another run already.
    """
    others = {source: _others(protocol, source, datasets, targets) for source in datasets}
    given = flags or {}
    if shots is None:
        shots = list(PROTOCOLS[protocol].shots) if protocol in PROTOCOLS else [16]  # an unknown one is refused below
    configs = [
        _config(
            method,
            protocol,
            recipe,
            {**given, "data.source": source, "data.targets": others[source], "data.shots": count, "seed": seed},
            settings or [],
        )
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
    step = len(shots) * len(methods)  # from a dataset to the next, of the first seed
    starts = range(0, len(datasets) * step, step)
    _check_methods([config for start in starts for config in configs[start : start + len(methods)]], backbone, pools)

    grid, (records, _) = Grid([], backbone, pools), read_records(out)
    trained = {
        record.training_hash: folder
        for folder, record in records.items()
        if record.status == "finished" and record.history
    }
    folders: set[Path] = set()
    strange: list[Path] = []
    for config, task in zip(configs, _tasks(configs, backbone, pools), strict=True):
        cell = _cell(config, task, out, trained.get(task.training_hash))
        if cell.folder in folders:
            raise VLPromptError(f"the grid has {cell.label} twice; leave one of the two out")
        folders.add(cell.folder)
        grid.cells.append(cell)
        record = records.get(cell.folder)  # of one that cannot be read it is said when its turn comes
        if record is not None and record.status != "planned":
            grid.records[cell.folder] = record
            strange += [cell.folder] * (record.result_hash != task.result_hash)
    if strange:
        more = len(strange) - 1
        cells = f"{strange[0]} and {more} more hold runs" if more else f"{strange[0]} holds a run"
        raise VLPromptError(f"{cells} with other settings, images or weights; choose another --out")
    return grid


def split_list(text: str) -> list[str]:
    """Parts between the commas of a list; those in brackets or quotes belong to their part: "a,b[c=1,d=2]" has two."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "[") - (character == "]")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if depth or quoted:
        raise VLPromptError(f"{text}: a bracket or quote is not closed; write NAME[KEY=VALUE,KEY=VALUE]")
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


def _config(method: str, protocol: str, recipe: str | None, flags: dict[str, Any], settings: list[str]) -> RunConfig:
    """A cell's run; the method's options in brackets go over its recipe's."""
    found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", method, re.DOTALL)
    if found is None:
        raise VLPromptError(f"--methods {method}: write NAME or NAME[KEY=VALUE,KEY=VALUE]")
    name, options = found[1].strip(), found[2]
    values = resolve(name, protocol, recipe, flags, [])
    for option in split_list(options or ""):
        key, equals, text = option.partition("=")
        if not equals:
            raise VLPromptError(f"--methods {method}: write options as NAME[KEY=VALUE,KEY=VALUE]")
        values["method"][key.strip()] = read_value(text)
    put_settings(values, settings)
    return parse_config(values)


def _others(protocol: str, source: str, datasets: list[str], targets: list[str] | None) -> list[str] | None:
    """What a run on `source` is tested on besides; None leaves it to the protocol."""
    if targets is None and protocol in PROTOCOLS and PROTOCOLS[protocol].targets == "own":
        targets = datasets
    return None if targets is None else [target for target in targets if target != source]


def _tasks(configs: list[RunConfig], backbone: Backbone, pools: dict[str, Dataset]) -> Iterator[Task]:
    """Every cell's ingredients; targets that had to be loaded join the pools.

    Methods follow one another on the same images, which are drawn once for all of them: ImageNet's take seconds.
    """
    drawn, task = "", None
    for config in configs:
        images = f"{config.seed} {config.data.model_dump_json(exclude=set(AUGMENTATION))}"
        if task is None or images != drawn:
            task = open_task(config, backbone, pools)
            if not task.tests:
                raise VLPromptError(
                    f"dataset {task.dataset.name!r} has no test images; add some, or use `vlprompt tune`"
                )
            pools.update(zip(task.config.data.targets, task.targets.values(), strict=True))
            drawn = images
        else:
            task = task.of(config)
        yield task


def _check_methods(configs: list[RunConfig], backbone: Backbone, pools: dict[str, Dataset]) -> None:
    """Make every method: options that do not fit the backbone, methods that do not fit the protocol, and class names
    that cannot be read fail.
    """
    bound: list[str] = []
    for config, task in zip(configs, _tasks(configs, backbone, pools), strict=True):
        method = task.method()
        if task.cannot_name_new(method):
            bound.append(method_label(config))
        else:
            task.check(method)
    if bound:
        raise VLPromptError(
            f"--methods {', '.join(dict.fromkeys(bound))}: with these options they cannot name new classes, which "
            f"protocol {configs[0].protocol!r} tests; leave them out, or use protocol few-shot or domain-generalization"
        )


def _cell(config: RunConfig, task: Task, out: Path, prompts_from: Path | None) -> Cell:
    method, dataset, shots = method_label(config), task.dataset.name, config.data.shots
    folder = out / config.protocol / _file_name(dataset) / _file_name(method) / f"shots-{shots}" / f"seed-{config.seed}"
    label = f"{dataset}, {method}, {shots} shot{'s' * (shots > 1)}, seed {config.seed}"
    work = len(task.shots.train) * config.optim.epochs
    tested = len(task.dataset.test) + sum(len(target.test) for target in task.targets.values())
    return Cell(label, dataset, method, config, folder, work, tested, new_record(task, "planned"), prompts_from)


def _file_name(label: str) -> str:
    """A label as a file name without blanks and brackets; what had to be left out is told apart by a hash."""
    plain = label.replace("[", ",").replace("]", "")
    safe = re.sub(r"[^\w.,=+-]+", "_", plain)[:80].lstrip(".")
    return safe if safe == plain else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def _job(cell: Cell) -> Job:
    return {
        "label": cell.label,
        "config": cell.config.model_dump_json(),
        "folder": str(cell.folder),
        "prompts_from": None if cell.prompts_from is None else str(cell.prompts_from),
    }


def _free(folder: Path) -> bool:
    """Whether nothing but a plan is there."""
    if not (folder / "run.json").exists():
        return True
    with suppress(VLPromptError):  # of a record that cannot be read it is said when its turn comes
        return read_record(folder).status == "planned"
    return False


def _lock_file(cell: Cell) -> Path:
    return cell.folder.parent / f".{cell.folder.name}.lock"


def _came_to(cell: Cell, record: RunRecord) -> str:
    accuracies = [
        f"{test} {values['accuracy']:.1f}%" for test, values in record.metrics.items() if isinstance(values, dict)
    ]
    return f"{cell.label}: {', '.join(accuracies)} in {sum(record.timings.values()):.0f} s"
