"""Grid of runs, each in its own folder: run the unfinished ones, and estimate the time they take."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.engines.engine import Engine, Job
from vlprompt.experiments.engines.local import InProcess
from vlprompt.experiments.engines.worker import Worker
from vlprompt.experiments.rehearsal import Pace, SharedFeatures, encoding_pace, mean_pace, rehearse
from vlprompt.experiments.task import open_tasks
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.utils.locks import Lock, holder, is_locked, try_lock
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import listed

POLL = 0.5  # seconds between looks at cells that another process is running


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        label: name for messages, such as "openmoji, dapt, 16 shots, seed 1".
        dataset: name of the dataset.
        method: label of the method, with options that differ from its recipe, such as "dapt[beta_text=0]".
        config: resolved configuration.
        folder: run folder.
        work: training images times epochs, which training time is assumed to be proportional to.
        tested: number of evaluated images, which test time is assumed to be proportional to.
        features: sets of frozen features that the run reads; see `SharedFeatures`.
        plan: record with status "planned".
        prompts_from: folder of a finished run with the same training, whose prompts can be copied.
    """

    label: str
    dataset: str
    method: str
    config: RunConfig
    folder: Path
    work: int
    tested: int
    features: list[str]
    plan: RunRecord
    prompts_from: Path | None = None


@dataclass
class Grid:
    """Planned cells, with the backbone and datasets that they share.

    Attributes:
        cells: cells in execution order: seed by seed, so that an interrupted grid has complete seeds.
        backbone: backbone of all cells.
        pools: datasets of all cells, including targets, by source.
        records: records of cells that have started, by folder. Unfinished ones are continued.
        paces: measured paces of methods without a finished cell, by method label.
        features: sets of frozen features that the cells share.
        encoding: measured seconds to encode one feature, by dataset and by the precision that OpenVINO encodes in.
    """

    cells: list[Cell]
    backbone: Backbone
    pools: dict[str, Dataset]
    features: SharedFeatures
    records: dict[Path, RunRecord] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    encoding: dict[tuple[str, str | None], float] = field(default_factory=dict)

    @property
    def finished(self) -> list[Cell]:
        """Finished cells."""
        return [cell for cell in self.cells if self._is_finished(cell)]

    @property
    def unfinished(self) -> list[Cell]:
        """Cells that have to be run or continued."""
        return [cell for cell in self.cells if not self._is_finished(cell)]

    def state(self, cell: Cell) -> str:
        """Return the status in the cell's record, or "to run" if there is none."""
        return self.records[cell.folder].status if cell.folder in self.records else "to run"

    def run(self, reporter: Reporter, engine: Engine | None = None) -> dict[Path, str]:
        """Run the unfinished cells. Those that another process is running are waited for, after all others.

        Ctrl-C raises KeyboardInterrupt; planning and running the same grid again continues it.

        Args:
            reporter: shows progress.
            engine: engine that runs the cells; None runs them one after another in this process.

        Returns:
            the reason for each failure, by cell folder.
        """
        engine = engine or InProcess(Worker(self.backbone, self.pools))
        self._announce()
        failed: dict[Path, str] = {}
        running: dict[str, tuple[Cell, Lock]] = {}
        left = self.unfinished

        def fail(cell: Cell, reason: str) -> None:
            failed[cell.folder] = reason
            reporter.warn(f"failed: {cell.label}: {reason}")

        def show() -> None:
            labels = [cell.label for cell, _ in running.values()]
            note = f"{len(labels)} running" if len(labels) > 1 else "".join(labels)
            bar(len(self.cells) - len(left), len(self.cells), note)

        def jobs(cells: list[Cell], held: list[Cell]) -> Iterator[Job]:
            for cell in cells:
                lock = try_lock(lock_file(cell))
                if lock is None:
                    held.append(cell)
                    continue
                running[str(cell.folder)] = cell, lock
                show()
                yield _job(cell)

        def run(cells: list[Cell]) -> list[Cell]:
            """Run cells, and return those that another process is running."""
            held: list[Cell] = []
            with closing(engine.run(jobs(cells, held), reporter)) as ended:
                for job, error in ended:
                    cell, lock = running.pop(job["folder"])
                    lock.release()
                    left.remove(cell)
                    show()
                    if error is not None:
                        fail(cell, error)
                        continue
                    record = self.records[cell.folder] = read_record(cell.folder)
                    seconds = self.seconds_left(left)
                    rest = duration(seconds and seconds / engine.parallel)
                    done = f"{len(self.cells) - len(left)}/{len(self.cells)}"
                    reporter.say(escape(f"{done}  {_result(cell, record)}; {rest} left"))
            return held

        with reporter.bar("cells", clock=False) as bar:
            try:
                waiting = run(list(left))
                while waiting:
                    # Nothing is running and no lock is held now, so that two grids never wait for each other.
                    _wait_for_one(waiting, reporter)
                    waiting = run(waiting)
            finally:
                for _, lock in running.values():
                    lock.release()
        return failed

    def rehearse(self, reporter: Reporter) -> None:
        """Measure the pace of each method without a finished cell, on one batch of its first cell, and of encoding."""
        known = {cell.method for cell in self.finished}
        first: dict[str, Cell] = {}
        reading: dict[tuple[str, str | None], Cell] = {}  # first cell with features to encode, by dataset and precision
        for cell in self.unfinished:
            if cell.method not in known and cell.prompts_from is None:
                first.setdefault(cell.method, cell)
            for name in cell.features:
                if self.features.missing[name]:
                    reading.setdefault((cell.dataset, self.features.precision[name]), cell)
        cells = [*reading.values(), *first.values()]
        if not cells:
            return
        with reporter.bar("measure") as bar:
            tasks = open_tasks([cell.config for cell in cells], self.backbone, self.pools)
            # `reading` comes first in zip, which then takes no task that is of `first`.
            for number, ((dataset, precision), task) in enumerate(zip(reading, tasks, strict=False)):
                bar(number, len(cells), dataset)
                self.encoding[dataset, precision] = encoding_pace(task, precision)
            for number, (method, task) in enumerate(zip(first, tasks, strict=True), start=len(reading)):
                bar(number, len(cells), method)
                self.paces[method] = rehearse(task)

    def seconds_left(self, cells: list[Cell] | None = None) -> float | None:
        """Estimate the seconds that cells take, from finished cells and rehearsals; None if nothing was measured.

        A method without measurements is assumed to be as fast as the average. Frozen features that several cells read
        are encoded once. By default, all unfinished cells count.
        """
        cells = self.unfinished if cells is None else cells
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
        encoded = {name for cell in self.finished for name in cell.features}
        for cell in cells:
            pending = dict.fromkeys(name for name in cell.features if name not in encoded)
            encoded.update(pending)
            for name in pending:
                one = self.encoding.get((cell.dataset, self.features.precision[name]), 0.0)
                left += one * self.features.missing[name]
            pace = paces.get(cell.method, average)
            left += pace.names + pace.test * cell.tested + (0 if cell.prompts_from else pace.train * cell.work)
        return left

    def summary(self, parallel: int = 1) -> str:
        """Summarize in one line the number of cells in each state and the estimated time left.

        Args:
            parallel: number of cells that run at a time.
        """
        done, begun = len(self.finished), len(self.records) - len(self.finished)
        states = [f"{done} finished"] + ([f"{begun} to continue"] if begun else [])
        states.append(f"{len(self.cells) - done - begun} to run")
        if learned := sum(cell.prompts_from is not None for cell in self.unfinished):
            states.append(f"{learned} of them with prompts copied from another run")
        seconds = self.seconds_left()
        cells = "1 cell" if len(self.cells) == 1 else f"{len(self.cells)} cells"
        return f"{cells}: {', '.join(states)}" + (f"; {duration(seconds / parallel)}" if seconds else "")

    def short_classes(self) -> list[str]:
        """Return a warning for each dataset and number of shots with classes that have too few training images."""
        lines = []
        for cell in self.cells:
            short, shots = cell.plan.split.short, cell.config.data.shots
            if short:
                classes = "1 class has" if len(short) == 1 else f"{len(short)} classes have"
                name, count = min(short.items(), key=lambda item: item[1])
                lines.append(
                    f"{cell.dataset}: {classes} fewer than {shots} training images (fewest: {count} of {name!r}); all "
                    "available ones are used"
                )
        return list(dict.fromkeys(lines))

    def _announce(self) -> None:
        """Write a planned record for every cell that has not started, so that tables of a partial grid list it."""
        for cell in self.cells:
            lock = None if cell.folder in self.records else try_lock(lock_file(cell))
            if lock is None:  # it has started, here or in another process
                continue
            with lock:
                if _holds_no_run(cell.folder):
                    cell.plan.write(cell.folder)

    def _is_finished(self, cell: Cell) -> bool:
        return self.state(cell) == "finished"


def _wait_for_one(cells: list[Cell], reporter: Reporter) -> None:
    """Wait until another process ends one of the cells that it is running."""
    others = listed(dict.fromkeys(holder(lock_file(cell)) for cell in cells), quote=False)
    reporter.say(escape(f"waiting for {others}: {listed((cell.label for cell in cells), 3, quote=False)}"))
    while all(is_locked(lock_file(cell)) for cell in cells):
        time.sleep(POLL)


def duration(seconds: float | None) -> str:
    """Format seconds as a rough duration, such as "about 2 h 10 min"."""
    if seconds is None:
        return "unknown time"
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return "about " + (f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min")


def lock_file(cell: Cell) -> Path:
    """Return the path of the lock file that is held while the cell runs."""
    return cell.folder.parent / f".{cell.folder.name}.lock"


def _job(cell: Cell) -> Job:
    return {
        "label": cell.label,
        "config": cell.config.model_dump_json(),
        "folder": str(cell.folder),
        "prompts_from": None if cell.prompts_from is None else str(cell.prompts_from),
    }


def _holds_no_run(folder: Path) -> bool:
    """Return whether the folder holds no record, or only a planned one."""
    if not (folder / "run.json").exists():
        return True
    with suppress(VLPromptError):  # a damaged record is reported when the cell is run
        return read_record(folder).status == "planned"
    return False


def _result(cell: Cell, record: RunRecord) -> str:
    accuracies = [
        f"{test} {values['accuracy']:.1f}%" for test, values in record.metrics.items() if isinstance(values, dict)
    ]
    return f"{cell.label}: {', '.join(accuracies)} in {sum(record.timings.values()):.0f} s"
