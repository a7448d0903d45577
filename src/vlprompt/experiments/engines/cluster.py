"""Cells on a Ray cluster. Their folders lie on storage that all its machines share."""

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

# Seconds after which machines that have joined are noticed.
LOOK = 10.0
# Bytes that a cluster of our own takes for what tasks hand to one another, which is a few lines.
STORE = 100_000_000


class Cluster:
    """Cells as tasks of Ray, which gives each its CPUs and GPUs.

    A lost worker's cell is begun again, on another machine if need be. Ray itself begins none again, so that every
    loss is said.

    Args:
        address: of a running cluster, HOST:PORT or "auto"; None starts one on this machine, which listens on its
            loopback interface alone.
        cpus: of a cell.
        gpus: of a cell; with a share of one, cells share it.
    """

    def __init__(self, address: str | None, cpus: float, gpus: float) -> None:
        self._address = address
        self._shares = {"CPU": cpus, "GPU": gpus}
        self._ray: Any = None

    @property
    def parallel(self) -> int:
        """How many cells the cluster has room for now, machine by machine."""
        shares = [(kind, share) for kind, share in self._shares.items() if share]
        return sum(
            min(int(node["Resources"].get(kind, 0) // share) for kind, share in shares)
            for node in self._ray.nodes()
            if node["Alive"]
        )

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """See `Engine`. It starts, or connects, with the first job, and ends with the last.

        Raises:
            VLPromptError: Ray is not installed, no cluster answers there, or none of its machines has room for a cell.
        """
        first = next(jobs, None)
        if first is None:
            return
        ray = self._ray = _start(self._address)
        running: dict[Any, tuple[Job, int]] = {}
        try:
            if not self.parallel:
                wanted = " and ".join(f"{share:g} {kind}s" for kind, share in self._shares.items())
                raise VLPromptError(f"a cell asks for {wanted}, which no machine has; lower --{{cpus,gpus}}-per-cell")
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
        ray, said = self._ray, set[str]()
        cpus, gpus = self._shares["CPU"], self._shares["GPU"]
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_remotely)

        def begin(job: Job, attempt: int) -> None:
            running[task.remote(job, str(Path.cwd()), max(1, int(cpus)))] = job, attempt

        while True:
            # One more than there is room for, so that no machine waits for us.
            while len(running) <= max(1, self.parallel) and (job := next(jobs, None)):
                begin(job, 1)
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK)
            if not done:
                continue
            ended = done[0]
            job, attempt = running.pop(ended)
            try:
                *warnings, last = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                yield job, f"its worker cannot run it: {str(error).strip().splitlines()[-1]}"
            except ray.exceptions.RayError as error:
                lost = f"its worker was lost ({type(error).__name__})"
                if attempt > RETRIES:
                    yield job, f"{lost}, the last of {attempt}; the logs of Ray say why"
                else:
                    reporter.warn(f"{job['label']}: {lost}; it goes on in another")
                    begin(job, attempt + 1)
            else:
                for line in {warning["warn"] for warning in warnings} - said:
                    said.add(line)
                    reporter.warn(line)
                yield job, last["ended"]


def _start(address: str | None) -> Any:
    """Ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Keeps Ray on the loopback interface, as it is by itself on the systems that the variable is named after.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise VLPromptError("--engine ray needs Ray; pip install 'vlprompt[sweep]'") from error
    handler = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is None:
            ray.init("local", include_dashboard=False, object_store_memory=STORE, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise VLPromptError(f"--address {address}: no Ray cluster answers ({reason}); see `ray status`") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
    return ray


def _knock(address: str) -> None:
    """OSError or ValueError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
