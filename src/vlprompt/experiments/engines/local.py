"""Engines on this machine: this process, or several processes that share the cores."""

import os
import queue
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from vlprompt.config.schema import RuntimeConfig
from vlprompt.experiments.engines.engine import RETRIES, Job
from vlprompt.experiments.engines.worker import Worker
from vlprompt.utils.machine import SHARE
from vlprompt.utils.processes import Child, Message
from vlprompt.utils.progress import Bar, Reporter

# Seconds that interrupted processes get to write their records; their state on disk can be continued in any case.
PATIENCE = 30.0


class InProcess:
    """Engine that runs one cell after another in this process."""

    parallel = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs, see `Engine.run`."""
        for job in jobs:
            yield job, self._worker.run(job, reporter)


@dataclass
class _Slot:
    """Slot for one cell at a time: its progress bar, process, job, and the number of attempts at the job."""

    bar: Bar
    environment: dict[str, str]
    child: Child | None = None
    job: Job | None = None
    attempt: int = 0


class Processes:
    """Engine that runs cells in several processes.

    A process that is lost (killed, out of memory) is replaced, and the new one continues its cell.

    Args:
        workers: number of processes.
        runtime: runtime settings of the cells. Without `threads`, the processes share those of this process; without
            a specific device, they are spread over the CUDA devices.
    """

    def __init__(self, workers: int, runtime: RuntimeConfig) -> None:
        self.parallel = workers
        self._runtime = runtime
        self._answers: queue.SimpleQueue[tuple[Child, Message | None]] = queue.SimpleQueue()

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs, see `Engine.run`."""
        self._answers = queue.SimpleQueue()  # late messages of an earlier run's processes stay out
        reported: set[str] = set()
        with ExitStack() as bars:
            slots = [
                _Slot(bars.enter_context(reporter.bar(f"worker {number + 1}", clock=False)), self.environment(number))
                for number in range(self.parallel)
            ]
            try:
                for slot in slots:
                    self._begin(slot, next(jobs, None))
                while any(slot.job for slot in slots):
                    child, message = self._answers.get()
                    slot = next(slot for slot in slots if slot.child is child)
                    job = slot.job
                    if job is None:  # an idle process was lost
                        slot.child = None
                        continue
                    match message:
                        case {"step": [title, done, total, _]}:
                            slot.bar(done, total, f"{job['label']}: {title}")
                        case {"warn": line}:
                            if line not in reported:
                                reporter.warn(line)
                            reported.add(line)
                        case {"ended": error}:
                            yield job, error
                            self._begin(slot, next(jobs, None))
                        case None:
                            slot.child = None
                            lost = f"its process was lost ({child.end})"
                            if slot.attempt <= RETRIES:
                                reporter.warn(f"{job['label']}: {lost}; restarting it")
                                self._begin(slot, job, slot.attempt + 1)
                            else:
                                yield (
                                    job,
                                    f"{lost}, after {slot.attempt} attempts; use fewer `workers` if memory ran out",
                                )
                                self._begin(slot, next(jobs, None))
            finally:
                _end(slots)

    def environment(self, number: int) -> dict[str, str]:
        """Return the environment variables of a process, by its number from 0."""
        threads = self._runtime.threads or max(1, torch.get_num_threads() // self.parallel)
        variables = {"OMP_NUM_THREADS": str(threads), SHARE: str(self.parallel)}
        gpus = torch.cuda.device_count()
        if gpus > 1 and self._runtime.devices == 1 and self._runtime.device in ("auto", "cuda"):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
            variables["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
        return variables

    def _begin(self, slot: _Slot, job: Job | None, attempt: int = 1) -> None:
        slot.job, slot.attempt = job, attempt
        if job is not None:
            slot.child = slot.child or Child(
                "vlprompt.experiments.engines.worker:work", self._answers, slot.environment
            )
            slot.child.tell(dict(job))


def _end(slots: list[_Slot]) -> None:
    """Interrupt running jobs and wait for all processes."""
    for slot in slots:
        if slot.child and slot.job:
            slot.child.interrupt()
    deadline = time.monotonic() + PATIENCE
    for slot in slots:
        if slot.child and not slot.child.join(max(0.0, deadline - time.monotonic())):
            slot.child.kill()
            slot.child.join()
