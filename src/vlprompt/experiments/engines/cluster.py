"""Engine that runs cells on a Ray cluster, whose machines share the storage of the run folders."""

import os
import signal
import socket
import threading
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from vlprompt.errors import VLPromptError
from vlprompt.experiments.engines.engine import RETRIES, Job
from vlprompt.experiments.engines.local import PATIENCE
from vlprompt.experiments.engines.worker import run_remotely
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import one_line

# Seconds between checks for machines that have joined.
POLL = 10.0
# Bytes of the object store of a cluster that we start; tasks exchange only a few lines.
STORE = 100_000_000


class Cluster:
    """Engine that runs cells as Ray tasks; Ray assigns CPUs and GPUs to each.

    If a worker is lost, its cell is restarted, on another machine if needed. Ray's own retries are off, so that every
    loss is reported.

    Args:
        address: address of a running cluster, HOST:PORT or "auto"; None starts one on this machine, which listens
            only on the loopback interface.
        cpus_per_cell: CPU cores for each cell.
        gpus_per_cell: GPUs for each cell; a fraction lets several cells share one.
    """

    def __init__(self, address: str | None, cpus_per_cell: float, gpus_per_cell: float) -> None:
        self._address = address
        self._shares = {"CPU": cpus_per_cell, "GPU": gpus_per_cell}
        self._ray: Any = None

    @property
    def parallel(self) -> int:
        """Number of cells that the cluster can run at the moment."""
        shares = [(kind, share) for kind, share in self._shares.items() if share]
        return sum(
            min(int(node["Resources"].get(kind, 0) // share) for kind, share in shares)
            for node in self._ray.nodes()
            if node["Alive"]
        )

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs, see `Engine.run`. Connect or start with the first job, disconnect after the last.

        Raises:
            VLPromptError: Ray is not installed, the cluster does not respond, or none of its machines can run a cell.
        """
        first = next(jobs, None)
        if first is None:
            return
        ray = self._ray = _start(self._address)
        running: dict[Any, tuple[Job, int]] = {}
        try:
            if not self.parallel:
                wanted = " and ".join(f"{share:g} {kind}s" for kind, share in self._shares.items())
                raise VLPromptError(
                    f"no machine of the cluster has {wanted} for a cell; lower `cpus_per_cell` or `gpus_per_cell`"
                )
            yield from self._run(chain([first], jobs), running, reporter)
        finally:
            for reference in running:
                ray.cancel(reference)  # raises KeyboardInterrupt there
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)
            ray.shutdown()

    def _run(
        self, jobs: Iterator[Job], running: dict[Any, tuple[Job, int]], reporter: Reporter
    ) -> Generator[tuple[Job, str | None]]:
        ray, reported = self._ray, set[str]()
        cpus, gpus = self._shares["CPU"], self._shares["GPU"]
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_remotely)

        def begin(job: Job, attempt: int) -> None:
            running[task.remote(job, str(Path.cwd()), max(1, int(cpus)))] = job, attempt

        while True:
            # One more than there is room for, so that no machine is idle.
            while len(running) <= max(1, self.parallel) and (job := next(jobs, None)):
                begin(job, 1)
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1, timeout=POLL)
            if not done:
                continue
            ended = done[0]
            job, attempt = running.pop(ended)
            try:
                *warnings, last = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                yield job, f"its worker failed: {str(error).strip().splitlines()[-1]}"
            except ray.exceptions.RayError as error:
                lost = f"its worker was lost ({type(error).__name__})"
                if attempt > RETRIES:
                    yield job, f"{lost}, after {attempt} attempts; see Ray's logs"
                else:
                    reporter.warn(f"{job['label']}: {lost}; restarting it")
                    begin(job, attempt + 1)
            else:
                for line in {warning["warn"] for warning in warnings} - reported:
                    reported.add(line)
                    reporter.warn(line)
                yield job, last["ended"]


def _start(address: str | None) -> Any:
    """Connect to a cluster, or start one; return the module `ray`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Makes Ray listen only on the loopback interface, its default on Windows and macOS.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise VLPromptError("`engine` ray needs Ray; run `pip install 'vlprompt[sweep]'`") from error
    handler = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is None:
            ray.init("local", include_dashboard=False, object_store_memory=STORE, **quiet)
        else:
            _check_reachable(address)
            ray.init(address, **quiet)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = one_line(error)
        problem = "no Ray cluster could be started on this machine"
        if address is not None:
            problem = f"no Ray cluster responds at `address` {address}"
        raise VLPromptError(f"{problem} ({reason}); check it with `ray status`") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray installs its own
    return ray


def _check_reachable(address: str) -> None:
    """Raise OSError or ValueError if nothing listens at HOST:PORT, where Ray itself would retry for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
