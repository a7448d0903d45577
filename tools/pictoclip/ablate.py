"""Compare variants of the recipe in short runs. Each differs from the recipe in one setting, at equal time.

    python -m tools.pictoclip.ablate --work ~/pictoclip

Each run has one thread and checkpoints in `ablation/`; repeat an interrupted command to resume. Prints the table of all
variants at the end.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tools.pictoclip import corpus
from tools.pictoclip.captions import Mix
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.export import export
from tools.pictoclip.model import Shape
from tools.pictoclip.train import Recipe, Trainer, resume_or_start, run
from tools.pictoclip.views import Styles

from vlprompt.utils.files import atomic_write

SAMPLES = 100_096
SEEDS = (1, 2)


@dataclass(frozen=True, slots=True)
class Variant:
    """Changes to the recipe; `cost` is the time of a sample relative to the recipe's, and reduces their number."""

    recipe: dict[str, Any]
    shape: Shape = field(default_factory=Shape)
    cost: float = 1.0


VARIANTS = {
    "recipe": Variant({}),
    "icons of no concept 30 %": Variant({"icons": (0.03, 0.30)}),
    "line views 30 %": Variant({"styles": Styles(lines=0.30)}),
    "captions: names alone": Variant({"captions": Mix(0.0, 0.0, 0.0)}),
    "16 of 64 patches": Variant({"patch_stages": ((0.85, 0.25), (0.95, 0.75), (1.0, 1.0))}, cost=0.66),
    "image width 256": Variant({}, Shape(image_width=256), cost=1.6),
    "patch size 16": Variant({"patch_stages": ((1.0, 1.0),)}, Shape(patch=16), cost=0.66),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip.ablate", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder that `python -m tools.pictoclip` uses")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time (default: %(default)s)")
    options = parser.parse_args()
    wanted = [(name, seed) for name in options.variants for seed in SEEDS]
    missing = [job for job in wanted if not _result(options.work, *job).exists()]
    with ProcessPoolExecutor(options.workers) as pool:
        for done in as_completed([pool.submit(_train, options.work, *job) for job in missing]):
            print(json.dumps(done.result()), flush=True)
    print(table(options.work))


def table(work: Path) -> str:
    """Format every variant's mean over seeds, and half the distance between them, as Markdown."""
    rows = [
        "| variant | samples | color | solid | line | subgroup rank | name rank |",
        "| --- |" + " ---: |" * 6,
    ]
    for name in VARIANTS:
        files = [_result(work, name, seed) for seed in SEEDS]
        runs = [json.loads(file.read_text()) for file in files if file.exists()]
        if runs:
            cells = [f"{runs[0]['samples']:,}"]
            for score in ("color", "solid", "line", "subgroup_rank", "name_rank"):
                values = [100 * run[score] for run in runs]
                cells.append(f"{mean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}")
            rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _train(work: Path, name: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    variant, result = VARIANTS[name], _result(work, name, seed)
    samples = round(SAMPLES / variant.cost / 128) * 128
    recipe = replace(Recipe(samples, seed, shards=1), **variant.recipe)
    data = TrainingSet(corpus.load(work / "packages", work / "corpus"))
    trainer, folder = Trainer(data, recipe, torch.float32, variant.shape), result.with_suffix("")
    resume_or_start(trainer, folder)
    scores = run(trainer, folder, validate_every=samples)
    found = {"variant": name, "seed": seed, "samples": samples, **scores}
    export(trainer, folder / "model.safetensors")
    atomic_write(result, json.dumps(found) + "\n")
    return found


def _result(work: Path, name: str, seed: int) -> Path:
    return work / "ablation" / f"{name.replace(' ', '-').replace('%', 'percent')}-{seed}.json"


if __name__ == "__main__":
    main()
