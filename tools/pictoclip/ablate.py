"""Compare variants of the recipe in short runs. Each differs from the recipe in one setting.

    python -m tools.pictoclip.ablate --work ~/pictoclip

Runs have equal time, a number of samples that the measured speed makes possible in `--seconds`, or equal `--samples`.
Results are kept in `ablation/`, and runs that have one are not repeated. Prints the table of all variants at the end.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tools.pictoclip import corpus
from tools.pictoclip.captions import Forms
from tools.pictoclip.data import Planner, TrainingSet
from tools.pictoclip.export import export
from tools.pictoclip.model import Shape
from tools.pictoclip.render import Atlas
from tools.pictoclip.scenes import Mix
from tools.pictoclip.train import BATCHES, Recipe, Trainer, fast_precision, run, training_device
from tools.pictoclip.validate import World, worlds

from vlprompt.utils.files import atomic_write

SEEDS = (1, 2)
SCORES = ("template", "words", "vectors", "probe")


@dataclass(frozen=True, slots=True)
class Variant:
    """Changes to the recipe."""

    recipe: dict[str, Any] = field(default_factory=dict)
    shape: Shape = field(default_factory=Shape)


VARIANTS = {
    "recipe": Variant(),
    "captions: no context": Variant({"forms": Forms(words=0.0, vectors=0.0, behind=0.0, damaged=0.0)}),
    "captions: no facts": Variant({"forms": Forms(facts=0.0)}),
    "no scenes": Variant({"mix": Mix(kinds=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0))}),
    "image width 256 x 4": Variant({}, Shape(image_width=256, image_layers=4)),
    "patch size 16": Variant({"patch_stages": ((1.0, 1.0),)}, Shape(patch=16)),
    "image layers 8": Variant({}, Shape(image_layers=8)),
    "text layers 6": Variant({}, Shape(text_layers=6)),
    "all patches": Variant({"patch_stages": ((1.0, 1.0),)}),
    "rates x 2": Variant({"adam_rate": 2.4e-3, "muon_rate": 0.04, "prototype_rate": 4.8e-3}),
    "auxiliary 0.3": Variant({"auxiliary": 0.3}),
}


@dataclass(frozen=True)
class Bench:
    """What all runs share. `batch` is the size of the recipe's batches; `replay` is that of `Trainer`."""

    data: TrainingSet
    atlas: Atlas
    planner: Planner
    worlds: list[World]
    batch: int
    precision: torch.dtype
    replay: bool = True

    @classmethod
    def of(cls, data: TrainingSet, planners: int | None = None) -> "Bench":
        planner = Planner(data, planners)
        device = training_device()
        atlas = Atlas(data.corpus.pictures, device)
        validation = worlds(data, atlas, Shape().image_size)
        return cls(data, atlas, planner, validation, BATCHES[device.type], fast_precision(device))

    def trainer(self, variant: Variant, samples: int, seed: int) -> Trainer:
        recipe = replace(Recipe(samples, seed, self.batch), **variant.recipe)
        planner, atlas = self.planner, self.atlas
        return Trainer(self.data, recipe, self.precision, variant.shape, atlas, planner, replay=self.replay)

    def samples_within(self, variant: Variant, seconds: float, steps: int = 32) -> int:
        """Return how many samples a run of `variant` trains on in `seconds`.

        Measures the second half of some steps of each of its stages, when all of their graphs have been recorded.
        """
        stages, before, needed = self.trainer(variant, 10**9, 0).recipe.patch_stages, 0.0, 0.0
        for until, share in stages:
            trial = self.trainer(replace(variant, recipe=variant.recipe | {"patch_stages": ((1.0, share),)}), 10**9, 0)
            trial.seen = trial.recipe.samples // 2 // trial.recipe.batch * trial.recipe.batch
            start = 0.0
            for step in range(steps):
                if step == steps // 2:
                    start = _now(self.atlas.device)
                trial.step()
            timed = (_now(self.atlas.device) - start) / (steps - steps // 2) / trial.recipe.batch
            needed, before = needed + (until - before) * timed, until
        return max(1, round(seconds / needed / self.batch)) * self.batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip.ablate", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder that `python -m tools.pictoclip` uses")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, default=900, help="training time of a run (default: %(default)s)")
    budget.add_argument("--samples", type=int, help="samples of a run, instead of its time")
    options = parser.parse_args()
    bench = Bench.of(TrainingSet(corpus.load(options.work / "corpus.zip")))

    def samples_of(variant: Variant) -> int:
        return options.samples or bench.samples_within(variant, options.seconds)

    for seed in SEEDS:
        for name in options.variants:
            print(json.dumps(compare(bench, name, seed, samples_of, options.work / "ablation")), flush=True)
    print(table(options.work / "ablation"))


def compare(bench: Bench, name: str, seed: int, samples_of: Callable[[Variant], int], folder: Path) -> dict[str, Any]:
    """Train a variant, unless its result is there already, and return the result."""
    result = _result(folder, name, seed)
    if not result.exists():
        samples = samples_of(VARIANTS[name])
        trainer, run_folder = bench.trainer(VARIANTS[name], samples, seed), result.with_suffix("")
        run_folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        scores = run(trainer, run_folder, bench.worlds, checkpoint_every=samples + 1, validate_every=samples + 1)
        row = {"variant": name, "seed": seed, "samples": samples, "took": time.perf_counter() - start, **scores}
        export(trainer, run_folder / "model.safetensors")
        atomic_write(result, json.dumps(row) + "\n")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def table(folder: Path, names: Sequence[str] = tuple(VARIANTS)) -> str:
    """Format every variant's mean over seeds, and half the distance between them, as Markdown."""
    rows = [f"| variant | samples | {' | '.join(SCORES)} |", "| --- |" + " ---: |" * (1 + len(SCORES))]
    for name in names:
        files = [_result(folder, name, seed) for seed in SEEDS]
        runs = [json.loads(file.read_text()) for file in files if file.exists()]
        if runs:
            cells = [f"{runs[0]['samples']:,}"]
            for score in SCORES:
                values = [100 * run[score] for run in runs]
                cells.append(f"{mean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}")
            rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _result(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '-').replace(':', '')}-{seed}.json"


if __name__ == "__main__":
    main()
