"""Cells on this machine: in this process, or in several, each with its share of the cores."""

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
from vlprompt.utils.processes import Child, Message
from vlprompt.utils.progress import Bar, Reporter

# Seconds that interrupted processes have to leave their runs in order; what is on disk can go on anyway.
PATIENCE = 30.0


class Here:
    """One cell after another in this process."""

    parallel = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """See `Engine`."""
        for job in jobs:
            yield job, self._worker.run(job, reporter)


@dataclass
class _Place:
    """Where one cell at a time is run: its bar, its process, and the job in it, begun for the nth time."""

    bar: Bar
    environment: dict[str, str]
    child: Child | None = None
    job: Job | None = None
    attempt: int = 0


class Processes:
    """Cells in several processes.

    One that is lost (killed, out of memory) is replaced, and its cell goes on in the new one.

    Args:
        parallel: number of processes.
        runtime: of the cells. Where it gives no threads, a process has its share of this one's; where it leaves the
            device open and there are several of CUDA, the processes take them in turn.
    """

    def __init__(self, parallel: int, runtime: RuntimeConfig) -> None:
        self.parallel = parallel
        self._runtime = runtime
        self._answers: queue.SimpleQueue[tuple[Child, Message | None]] = queue.SimpleQueue()

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """See `Engine`."""
        said: set[str] = set()
        with ExitStack() as bars:
            places = [
                _Place(bars.enter_context(reporter.bar(f"worker {number + 1}", clock=False)), self.environment(number))
                for number in range(self.parallel)
            ]
            try:
                for place in places:
                    self._begin(place, next(jobs, None))
                while any(place.job for place in places):
                    child, message = self._answers.get()
                    place = next(place for place in places if place.child is child)
                    job = place.job
                    if job is None:  # an idle one was lost
                        place.child = None
                        continue
                    match message:
                        case {"step": [title, done, total, _]}:
                            place.bar(done, total, f"{job['label']}: {title}")
                        case {"warn": line}:
                            if line not in said:
                                reporter.warn(line)
                            said.add(line)
                        case {"ended": error}:
                            yield job, error
                            self._begin(place, next(jobs, None))
                        case None:
                            place.child = None
                            lost = f"its process was lost ({child.end})"
                            if place.attempt <= RETRIES:
                                reporter.warn(f"{job['label']}: {lost}; it goes on in another")
                                self._begin(place, job, place.attempt + 1)
                            else:
                                yield job, f"{lost}, the last of {place.attempt}; fewer --workers leave more memory"
                                self._begin(place, next(jobs, None))
            finally:
                _end(places)

    def environment(self, number: int) -> dict[str, str]:
        """Variables of the process with this number, from 0."""
        threads = self._runtime.threads or max(1, torch.get_num_threads() // self.parallel)
        variables = {"OMP_NUM_THREADS": str(threads)}
        gpus = torch.cuda.device_count()
        if gpus > 1 and self._runtime.devices == 1 and self._runtime.device in ("auto", "cuda"):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
            variables["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
        return variables

    def _begin(self, place: _Place, job: Job | None, attempt: int = 1) -> None:
        place.job, place.attempt = job, attempt
        if job is not None:
            place.child = place.child or Child(
                "vlprompt.experiments.engines.worker:work", self._answers, place.environment
            )
            place.child.tell(dict(job))


def _end(places: list[_Place]) -> None:
    """Interrupt what is running, and wait for all processes."""
    for place in places:
        if place.child and place.job:
            place.child.interrupt()
    deadline = time.monotonic() + PATIENCE
    for place in places:
        if place.child and not place.child.join(max(0.0, deadline - time.monotonic())):
            place.child.kill()
            place.child.join()
