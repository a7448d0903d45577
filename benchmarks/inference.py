"""Inference on the CPU: a loop over open_clip's model, beside PyTorch and the exported models in the web service.

Random weights say nothing about agreement with PyTorch, so that is measured on runs.

The service runs in a process of its own with the clients of `benchmarks.serving`. Each runtime is first loaded by many
clients, which shows its rate, and then by requests at 80% of that rate, evenly spaced, which shows latency.
"""

import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from benchmarks.growth import prepare
from benchmarks.processes import process_context
from benchmarks.serving import BATCHES, HOST, TIMEOUT, ask, form, measure, photograph, untrained
from benchmarks.steps import seconds
from vlprompt import Classifier, load_classifier
from vlprompt.classifier.exported_tower import ExportedTower
from vlprompt.export.agreement import Agreement, Reference
from vlprompt.export.deployed import Deployed, trace_method
from vlprompt.export.exporting import WRITERS, metadata
from vlprompt.runtimes.exported_model import FORMATS, LOGITS, PROBABILITIES, model_file, open_model
from vlprompt.serve.limits import Limits
from vlprompt.serve.server import listen, run
from vlprompt.serve.service import Service
from vlprompt.utils.progress import Reporter

MODELS = [("torch", "fp32"), *((name, precision) for name, form in FORMATS.items() for precision in form.precisions)]
CLIENTS = 32
LOAD = 0.8


@dataclass(frozen=True)
class Served:
    """Service with one runtime and precision.

    Attributes:
        size: size of the model in MB; None for PyTorch.
        rate: answers per second with many clients.
        relative: ratio of that to the images per second of the plain loop.
        p50, p99: latency in milliseconds at 80% of the rate.
    """

    runtime: str
    precision: str
    size: float | None
    rate: float
    relative: float
    p50: float
    p99: float


def run_all(*, quick: bool, threads: int, seconds: float = 10.0) -> list[Served]:
    """Measure the plain loop and every runtime; print as results arrive."""
    classifier = untrained(quick)
    plain = _plain_rate(classifier, 4 if quick else 24)
    print(f"open_clip, image by image: {plain:.1f} a second", flush=True)
    rows = []
    with TemporaryDirectory() as folder:
        run_folder = Path(folder) / "run"
        classifier.save(run_folder)
        for runtime, precision in MODELS:
            size = None if runtime == "torch" else _export(classifier, run_folder, runtime, precision)
            with _server(run_folder, runtime, precision, quick, threads) as port:
                measure(port, 1, seconds / 4, BATCHES[-1])  # warms the server up
                rate = measure(port, CLIENTS, seconds, BATCHES[-1]).rate
                p50, p99 = _latency(port, LOAD * rate, 3 * seconds)  # the 99th percentile takes many requests
            rows.append(Served(runtime, precision, size, rate, rate / plain, p50, p99))
            print(line(rows[-1]), flush=True)
    return rows


def agreements(run_folder: Path) -> dict[tuple[str, str], Agreement]:
    """Compare every exported model of a run with PyTorch, on all of the run's test images."""
    reference = Reference(load_classifier(run_folder, device="cpu"), (), sys.maxsize, Reporter(quiet=True))
    found = {}
    with TemporaryDirectory() as folder:
        for name, precision in MODELS[1:]:
            # Loaded anew, since fp16 rounds its weights.
            _export(load_classifier(run_folder, device="cpu"), Path(folder), name, precision)
            model = open_model(name, model_file(Path(folder), name, precision), [LOGITS, PROBABILITIES])
            found[name, precision], _ = reference.compare(model, "")
            print(f"{run_folder.name}, {name} {precision}: {found[name, precision]}", flush=True)
    return found


def line(row: Served) -> str:
    """Format a result for the terminal."""
    return (
        f"{row.runtime:8} {row.precision:4}: {row.rate:6.1f} a second, {row.relative:.2f} times open_clip; "
        f"at {LOAD:.0%}: p50 {row.p50:.0f} ms, p99 {row.p99:.0f} ms"
    )


@torch.no_grad()
def _plain_rate(classifier: Classifier, count: int) -> float:
    """Return the images per second of a loop that decodes, encodes and classifies one image after another."""
    backbone = classifier.method.backbone
    model: Any = backbone.model
    text_features, photo = classifier.method.class_features(), photograph()
    assert text_features is not None

    def classify() -> None:
        pixels = backbone.eval_transform(Image.open(BytesIO(photo)).convert("RGB"), random.Random(0))
        features = torch.nn.functional.normalize(model.encode_image(pixels[None]), dim=-1)
        (100 * features @ text_features.T).softmax(-1).tolist()

    classify()
    taken, _ = seconds(lambda: [classify() for _ in range(count)])
    return count / taken


def _export(classifier: Classifier, folder: Path, name: str, precision: str) -> float:
    """Write a model into the run folder, unchecked, since the weights are random; return its size in MB."""
    model: Any = classifier.method.backbone.model
    about = metadata(classifier, precision)
    deployed = Deployed(classifier.method, classifier.temperature).eval()
    if precision == "fp16":
        model.half()
    contents = WRITERS[name](trace_method(deployed), precision, about)
    model.float()
    file = model_file(folder, name, precision)
    for path, content in zip((file, file.with_suffix(".bin")), contents, strict=False):
        path.write_bytes(content)
    return sum(map(len, contents)) / 1e6


def _latency(port: int, rate: float, seconds: float) -> tuple[float, float]:
    """Return median and 99th percentile of the latency in ms of evenly spaced requests.

    Latency counts from the time a request was due, so that a late start is not hidden.
    """
    body, begun = form(), time.perf_counter()

    def request(number: int) -> float:
        due = begun + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        with closing(HTTPConnection(HOST, port, timeout=TIMEOUT)) as connection:
            if (status := ask(connection, body)) != 200:
                raise RuntimeError(f"the service answered {status}")
        return 1000 * (time.perf_counter() - due)

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = quantiles(pool.map(request, range(max(20, round(rate * seconds)))), n=100)
    return found[49], found[98]


@contextmanager
def _server(folder: Path, runtime: str, precision: str, quick: bool, threads: int) -> Iterator[int]:
    """Start a process that serves the run with a runtime; yield its port."""
    context = process_context()
    here, there = context.Pipe()
    arguments = (there, folder, runtime, precision, quick, threads)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join(30)


def _serve(pipe: Connection, folder: Path, runtime: str, precision: str, quick: bool, threads: int) -> None:
    prepare(threads)
    classifier = untrained(quick)
    if runtime != "torch":
        tower = ExportedTower(folder, classifier.method, runtime, precision)
        classifier = Classifier(classifier.record, classifier.method, tower=tower)
    service = Service(classifier, Limits(timeout=TIMEOUT))
    with listen(HOST, 0) as listening:
        pipe.send(listening.getsockname()[1])
        run(service, listening, token=None, loopback=True)
