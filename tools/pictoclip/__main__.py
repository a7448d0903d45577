"""`python -m pictoclip`: from nothing to the asset; see README.md beside this file."""

import argparse
from pathlib import Path

import torch

from . import corpus, sources
from .data import TrainingSet
from .export import export
from .model import Shape
from .train import Recipe, Trainer, fast_precision, run

ASSET = Path(__file__).parents[2] / "src/vlprompt/assets/pictoclip.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(prog="pictoclip", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages, pictures, checkpoints")
    parser.add_argument("--samples", type=int, default=800_000, help="budget (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ASSET, help="the asset (default: the package's)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    packages, pictures = options.work / "packages", options.work / "corpus"
    sources.fetch(packages)
    ready = (pictures / "drawings.json").exists()
    data = TrainingSet(corpus.load(packages, pictures) if ready else corpus.build(packages, pictures))
    recipe = Recipe(options.samples, options.seed)
    trainer = Trainer(data, recipe, fast_precision(), Shape())
    folder = options.work / f"run-{recipe.samples}-{recipe.seed}"
    if (folder / "state.safetensors").exists():
        trainer.load(folder / "state.safetensors")
    run(
        trainer,
        folder,
        on_checkpoint=lambda trainer: _export_latest(trainer, options.work),
    )
    print(export(trainer, options.out))


def _export_latest(trainer: Trainer, work: Path) -> None:
    export(trainer, work / "latest.safetensors")


if __name__ == "__main__":
    main()
