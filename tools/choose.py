"""Choose a method's defaults on validation images of pictobench: try settings, and print what each gives.

    python -m tools.choose e2mim --out FOLDER --trial "" --trial "optim.lr=0.002" --trial "method.r=0.5,optim.epochs=20"
    python -m tools.choose dapt --protocol few-shot --shots 4 --out FOLDER --trial "" --trial "optim.epochs=50"

A trial changes settings of the recipe that ships for the protocol; "" is the recipe itself. No test image is
classified. Runs are kept in FOLDER, and finished ones are not repeated.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.config.protocols import harmonic_mean
from vlprompt.config.resolve import parse_settings, resolve_config, split_list
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.experiments.run import run_experiment
from vlprompt.runs.record import RunRecord
from vlprompt.utils.progress import Reporter

DATASETS = ("pictobench-animals", "pictobench-objects", "pictobench-people")
# Tests of each protocol whose accuracies are printed; two of them with their harmonic mean.
TESTS = {"base-to-new": ("base", "new"), "few-shot": ("test",)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.choose", description=__doc__)
    parser.add_argument("method")
    parser.add_argument("--protocol", choices=TESTS, default="base-to-new")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--trial", action="append", required=True, help="settings, such as optim.lr=0.01,method.r=0")
    parser.add_argument("--recipe", help="recipe that trials change (default: the method's own)")
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--shots", type=int, default=16)
    options = parser.parse_args()
    backbone = load_backbone("embedded")
    pools = {name: load_dataset(name) for name in options.datasets}
    pools = {name: replace(pool, test=pool.val) for name, pool in pools.items()}
    tests = TESTS[options.protocol]
    columns = [*tests, *["H"] * (len(tests) == 2), "seconds"]
    print(f"| settings | {' | '.join(columns)} |\n| --- {'| ---: ' * len(columns)}|")
    for trial in options.trial:
        records = []
        settings = parse_settings(split_list(trial) if trial else [])
        trying = (trial or "recipe") if options.recipe is None else f"{options.recipe},{trial}"
        for name, pool in pools.items():
            for seed in options.seeds:
                config = resolve_config(
                    method=options.method,
                    protocol=options.protocol,
                    recipe=options.recipe,
                    settings=common(name, options.shots, seed) | settings,
                )
                folder = options.out / options.protocol / options.method / trying / name
                folder = folder / f"shots-{options.shots}" / f"seed-{seed}"
                records.append(run_on(pool, config, folder, backbone))
        accuracies = [mean(record.metrics[test]["accuracy"] for record in records) for test in tests]
        if len(tests) == 2:
            accuracies.append(harmonic_mean(*accuracies))
        seconds = mean(sum(record.timings.values()) for record in records)
        line = " | ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        print(f"| {trial or 'the recipe'} | {line} | {seconds:.0f} |", flush=True)


def common(dataset: str, shots: int, seed: int) -> dict[str, Any]:
    """Return the settings of every run with the embedded model, by dotted key."""
    return {"backbone.source": "embedded", "data.source": dataset, "data.shots": shots, "seed": seed}


def run_on(
    dataset: Dataset, config: RunConfig, folder: Path, backbone: Backbone, *, baselines: bool = False
) -> RunRecord:
    """Run a configuration on a dataset as it is given, such as one whose test images are those of validation."""
    return run_experiment(
        config,
        folder,
        resume=True,
        reporter=Reporter(quiet=True),
        backbone=backbone,
        pools={config.data.source: dataset},
        baselines=baselines,
    )


if __name__ == "__main__":
    main()
