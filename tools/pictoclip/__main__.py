"""Build the embedded model from icon packages to the asset (`python -m tools.pictoclip`); see README.md."""

import argparse
from pathlib import Path

import torch
from tools.pictoclip import corpus, sources
from tools.pictoclip.data import Planner, TrainingSet
from tools.pictoclip.export import export
from tools.pictoclip.model import Shape
from tools.pictoclip.render import Atlas
from tools.pictoclip.train import (
    BATCHES,
    Recipe,
    Trainer,
    fast_precision,
    resume_or_start,
    run,
    stored_precision,
    training_device,
)
from tools.pictoclip.validate import worlds

ASSET = Path(__file__).parents[2] / "src/vlprompt/assets/pictoclip.safetensors"
# Samples by the type of the device: minutes on an H100, or hours on two cores.
BUDGETS = {"cuda": 12_000_000, "cpu": 2_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages, drawings and checkpoints")
    parser.add_argument("--samples", type=int, help="training budget (default: 12 million with CUDA, else 2 million)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all randomness (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ASSET, help="file to write (default: the asset in the package)")
    parser.add_argument("--eager", action="store_true", help="on a GPU, launch every kernel instead of CUDA graphs")
    parser.add_argument("--pack", action="store_true", help="only pack the drawings, for a machine without a network")
    options = parser.parse_args()

    torch.set_num_threads(1)
    packed = packed_corpus(options.work)
    if options.pack:
        return
    data = TrainingSet(packed)
    planner = Planner(data)
    device = training_device()
    recipe = Recipe(options.samples or BUDGETS[device.type], options.seed, BATCHES[device.type])
    checkpoint = options.work / f"run-{recipe.samples}-{recipe.seed}" / "state.safetensors"
    precision = stored_precision(checkpoint) if checkpoint.exists() else fast_precision(device)
    atlas, shape = Atlas(data.corpus.pictures, device), Shape()
    trainer = Trainer(data, recipe, precision, shape, atlas, planner, replay=not options.eager)
    resume_or_start(trainer, checkpoint.parent)
    validation = worlds(data, atlas, shape.image_size)
    every = recipe.samples // 40 if device.type == "cuda" else 10_000
    run(
        trainer,
        checkpoint.parent,
        validation,
        checkpoint_every=every,
        validate_every=5 * every,
        on_checkpoint=lambda now: export(now, options.work / "latest.safetensors"),
    )
    print(export(trainer, options.out, trainer.fitted_logit_scale(validation)))


def packed_corpus(work: Path) -> corpus.Corpus:
    """Load `corpus.zip` of the work folder, or fetch, render and pack the drawings first."""
    if (work / "corpus.zip").exists():
        return corpus.load(work / "corpus.zip")
    sources.fetch(work / "packages")
    return corpus.build(work / "packages", work / "corpus.zip")


if __name__ == "__main__":
    main()
