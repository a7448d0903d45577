"""Throughput of the web service with and without batching, and the fate of requests when it is told to stop.

The service runs in a process of its own. The clients are threads of this one; each has a connection and sends its next
image as soon as it has the answer.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from multiprocessing.connection import Connection
from statistics import median, quantiles
from threading import Thread

import torch
from PIL import Image

from benchmarks.growth import prepare
from benchmarks.processes import process_context
from benchmarks.steps import backbone_of, class_names
from vlprompt import Classifier, create_method
from vlprompt.config.schema import parse_config
from vlprompt.runs.record import RunRecord, SplitRecord
from vlprompt.runs.state import backbone_record
from vlprompt.serve.limits import Limits
from vlprompt.serve.server import listen, run
from vlprompt.serve.service import Service

CLASSES = 100
BATCHES = [1, 16]
CLIENTS = [1, 8, 32]
HOST = "127.0.0.1"
# In seconds; long enough that even a slow machine refuses no request, so that the table shows speed alone.
TIMEOUT = 300.0
BOUNDARY = "a-boundary"
GONE = 0


@dataclass(frozen=True)
class Rates:
    """Predictions per second, latency in milliseconds and status counts for a batch size and number of clients."""

    batch_size: int
    clients: int
    rate: float
    p50: float
    p99: float
    statuses: dict[int, int]


@dataclass(frozen=True)
class Drain:
    """A server stopped under load: requests accepted, answers that arrived, and seconds until it stopped."""

    taken: int
    arrived: int
    seconds: float


def photograph() -> bytes:
    """Return a JPEG of 256 x 256 pixels."""
    file = BytesIO()
    torch.manual_seed(0)
    noise = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
    Image.fromarray(noise).resize((256, 256)).save(file, "JPEG", quality=90)
    return file.getvalue()


def form() -> bytes:
    """Return a multipart form with the photograph."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()
    return head + photograph() + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(connection: HTTPConnection, body: bytes) -> int:
    """Send a form for prediction; return the status once the answer is read."""
    connection.request("POST", "/v1/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


class Load:
    """Clients that send requests until told to stop, or until the server is gone.

    Attributes:
        seconds: latency of each prediction.
        statuses: HTTP status of each request; `GONE` where no answer came.
    """

    def __init__(self, port: int, clients: int) -> None:
        self.seconds: list[float] = []
        self.statuses: list[int] = []
        self._port, self._body, self._going = port, form(), True
        self._threads = [Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop sending, and wait for the last answers."""
        self._going = False
        self.join()

    def join(self) -> None:
        """Wait until the server is gone."""
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        connection = HTTPConnection(HOST, self._port, timeout=TIMEOUT)
        while self._going:
            begun = time.perf_counter()
            try:
                status = ask(connection, self._body)
            except (OSError, HTTPException):
                self.statuses.append(GONE)
                break
            self.statuses.append(status)
            if status == 200:
                self.seconds.append(time.perf_counter() - begun)
            else:
                time.sleep(0.1)
        connection.close()


def measure(port: int, clients: int, seconds: float, batch_size: int) -> Rates:
    """Load a server for some seconds and summarize what the clients got."""
    load, begun = Load(port, clients), time.perf_counter()
    time.sleep(seconds)
    load.stop()
    rate = len(load.seconds) / (time.perf_counter() - begun)
    times = [1000 * value for value in load.seconds]
    p99 = quantiles(times, n=100)[-1] if len(times) > 1 else times[0]
    return Rates(batch_size, clients, rate, median(times), p99, dict(Counter(load.statuses)))


def run_all(*, quick: bool, threads: int, seconds: float = 10.0) -> tuple[list[Rates], Drain]:
    """Measure every batch size under every number of clients, then stop the last server under load."""
    rows: list[Rates] = []
    with _servers(quick, threads) as (pipe, process):
        for batch_size in BATCHES:
            port = pipe.recv()
            # The first round warms the server up.
            first, *found = (measure(port, clients, seconds, batch_size) for clients in (1, *CLIENTS))
            print(*map(line, found), sep="\n", flush=True)
            rows += found
            answers = sum(sum(row.statuses.values()) for row in (first, *found))
            if batch_size == BATCHES[-1]:
                load = Load(port, CLIENTS[-1])
                time.sleep(seconds / 2)
            begun = time.perf_counter()
            os.kill(process, signal.SIGTERM)
            taken, drained = pipe.recv(), time.perf_counter() - begun
    load.join()
    drain = Drain(taken, answers + len(load.statuses) - load.statuses.count(GONE), drained)
    print(f"stopped under load: {drain.taken} requests accepted, {drain.arrived} answered", flush=True)
    return rows, drain


def line(row: Rates) -> str:
    """Format a result for the terminal."""
    return (
        f"batches of {row.batch_size:2}, {row.clients:3} clients: {row.rate:7.1f} a second, p50 {row.p50:6.0f} ms, "
        f"p99 {row.p99:6.0f} ms, statuses {row.statuses}"
    )


@contextmanager
def _servers(quick: bool, threads: int) -> Iterator[tuple[Connection, int]]:
    """Start a process that serves each batch size in turn; yield a pipe to it and its process id."""
    context = process_context()
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, quick, threads), daemon=True)
    process.start()
    there.close()  # so that this process notices when the other end closes
    try:
        assert process.pid is not None
        yield here, process.pid
    finally:
        process.join(10)
        process.kill()


def _serve(pipe: Connection, quick: bool, threads: int) -> None:
    """Send each server's port when it listens, and its number of requests when it has stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare(threads)
    for batch_size in BATCHES:
        service = Service(untrained(quick), Limits(batch_size=batch_size, timeout=TIMEOUT))
        with listen(HOST, 0) as listening:
            pipe.send(listening.getsockname()[1])
            run(service, listening, token=None, loopback=True)
        pipe.send(service.metrics.answered)


def untrained(quick: bool) -> Classifier:
    """Return a classifier with CoOp's untrained prompts for 100 classes."""
    backbone, names = backbone_of(quick), class_names(CLASSES)
    settings = {"backbone": {"source": backbone.source}, "method": {"name": "coop"}, "data": {"source": "nothing"}}
    record = RunRecord(
        config=parse_config(settings),
        result_hash="",
        backbone=backbone_record(backbone),
        class_names=names,
        split=SplitRecord(hash="", train=0, val=0, test=0),
        trainable_parameters=0,
    )
    return Classifier(record, create_method("coop", backbone, names))
