"""Records as runs leave them, made up."""

import hashlib
from pathlib import Path
from typing import Any

import polars

from vlprompt.config import parse_config
from vlprompt.settings import resolve
from vlprompt.training.record import BackboneRecord, RunRecord, SplitRecord

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
    parameters: int = 512,
    seconds: float = 4.0,
    **right: int,
) -> RunRecord:
    """Write a run whose tests have so many right answers among their 20 images, the first ones."""
    flags = {"data.source": dataset, "data.shots": shots, "seed": seed}
    config = parse_config(resolve(method, protocol, recipe, flags, settings or [])).with_template("a {}.")
    split = hashed(f"{dataset}{pool}{draw}{shots}{seed}")
    metrics: dict[str, Any] = {test: {"accuracy": 100 * count / IMAGES} for test, count in right.items()}
    if len(metrics) == 2:
        base, new = (values["accuracy"] for values in metrics.values())
        metrics["harmonic_mean"] = 2 * base * new / (base + new)
    record = RunRecord(
        status=status,
        config=config,
        result_hash=config.result_hash(weights, split),
        backbone=BackboneRecord(name="pictoclip", weight_hash=weights, embed_dim=4, image_size=8),
        class_names=["a", "b"],
        split=SplitRecord(hash=split, pool=hashed(f"{dataset}{pool}"), train=2 * shots, val=0, test=IMAGES),
        trainable_parameters=parameters,
        metrics=metrics if status == "finished" else {},
        timings={"prepare": 1.0, "train": seconds - 1, "test": 9.0},
    )
    record.write(folder)
    rows = [(test, f"{n:02}.png", 0, int(n >= count), 0.5) for test, count in right.items() for n in range(IMAGES)]
    table = polars.DataFrame(rows, schema=["test", "path", "label", "prediction", "probability"], orient="row")
    table.write_parquet(folder / "predictions.parquet")
    return record
