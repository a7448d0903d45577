"""Synthetic run records."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.resolve import parse_settings, resolve_config
from vlprompt.runs.record import BackboneRecord, EvaluationRecord, RunRecord, SplitRecord

IMAGES = 20


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_run(
    folder: Path,
    method: str = "coop",
    *,
    dataset: str = "openmoji",
    shots: int = 1,
    seed: int = 1,
    protocol: str = "few-shot",
    recipe: str = "unified",
    settings: list[str] | None = None,
    status: Any = "finished",
    pool: str = "pool",
    draw: str = "draw",
    weights: str = "weights",
    backbone: str = "pictoclip",
    class_names: Sequence[str] = ("a", "b"),
    short: dict[str, int] | None = None,
    parameters: int = 512,
    seconds: float = 4.0,
    **right: int | Sequence[bool],
) -> RunRecord:
    """Write a run with the given tests: correct images, or how many of the first of 20 images are correct.

    Labels cycle through the classes. Tests outside the protocol are targets.
    """
    answers = {
        test: [number < found for number in range(IMAGES)] if isinstance(found, int) else list(found)
        for test, found in right.items()
    }
    targets = [test for test in answers if test not in PROTOCOLS[protocol].tests]
    given = {
        "backbone.source": "embedded",
        "data.source": dataset,
        "data.shots": shots,
        "data.targets": targets,
        "seed": seed,
    }
    given |= parse_settings(settings or [])
    config = resolve_config(method=method, protocol=protocol, recipe=recipe, settings=given).with_template("a {}.")
    split = hashed(f"{dataset}{pool}{draw}{shots}{seed}")
    tests = {
        test: EvaluationRecord(dataset=dataset, hash=hashed(f"{dataset}{pool}{test}"), classes=2, images=len(found))
        for test, found in answers.items()
    }
    hashes = {} if protocol == "few-shot" else {test: found.hash for test, found in tests.items()}
    metrics: dict[str, Any] = {test: _metrics(found, class_names) for test, found in answers.items()}
    if PROTOCOLS[protocol].tests.keys() <= metrics.keys():
        metrics |= PROTOCOLS[protocol].summary(metrics)
    record = RunRecord(
        status=status,
        config=config,
        result_hash=config.result_hash(weights, split, hashes),
        backbone=BackboneRecord(name=backbone, weight_hash=weights, embed_dim=4, image_size=8),
        class_names=list(class_names),
        split=SplitRecord(
            hash=split,
            pool=hashed(f"{dataset}{pool}"),
            content=split,
            short=short or {},
            template="a {}.",
            train=2 * shots,
            val=0,
            test=IMAGES,
        ),
        tests=tests,
        trainable_parameters=parameters,
        metrics=metrics if status == "finished" else {},
        timings={"prepare": 1.0, "train": seconds - 1, "test": 9.0},
        peak_memory_mb=321.5,
        started="2026-01-02T03:04:05+00:00",
        ended="2026-01-02T03:05:05+00:00" if status == "finished" else None,
    )
    record.write(folder)
    count = len(class_names)
    rows = [
        (test, f"{number:04}.png", number % count, (number + (not hit)) % count, 0.5)
        for test, found in answers.items()
        for number, hit in enumerate(found)
    ]
    table = polars.DataFrame(rows, schema=["test", "path", "label", "prediction", "probability"], orient="row")
    table.write_parquet(folder / "predictions.parquet")
    return record


def _metrics(right: Sequence[bool], class_names: Sequence[str]) -> dict[str, Any]:
    of_class = [right[label :: len(class_names)] for label in range(len(class_names))]
    accuracies = {
        name: round(100 * sum(found) / len(found), 2)
        for name, found in zip(class_names, of_class, strict=True)
        if found
    }
    return {
        "accuracy": 100 * sum(right) / len(right),
        "macro_accuracy": sum(accuracies.values()) / len(accuracies),
        "calibration_error": 12.5,
        "images": len(right),
        "class_accuracy": accuracies,
    }
