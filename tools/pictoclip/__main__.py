"""Build the embedded model from icon packages to the asset (`python -m tools.pictoclip`); see README.md."""

import argparse
from pathlib import Path

import torch
from tools.pictoclip import corpus, sources
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.export import export
from tools.pictoclip.model import Shape
from tools.pictoclip.train import Recipe, Trainer, fast_precision, resume_or_start, run, stored_precision

ASSET = Path(__file__).parents[2] / "src/vlprompt/assets/pictoclip.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages, drawings and checkpoints")
    parser.add_argument("--samples", type=int, default=2_000_000, help="training budget (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all randomness (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ASSET, help="file to write (default: the asset in the package)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    work: Path = options.work
    packages, pictures = work / "packages", work / "corpus"
    sources.fetch(packages)
    ready = (pictures / "drawings.json").exists()
    data = TrainingSet(corpus.load(packages, pictures) if ready else corpus.build(packages, pictures))
    recipe = Recipe(options.samples, options.seed)
    checkpoint = work / f"run-{recipe.samples}-{recipe.seed}" / "state.safetensors"
    precision = stored_precision(checkpoint) if checkpoint.exists() else fast_precision()
    trainer = Trainer(data, recipe, precision, Shape())
    resume_or_start(trainer, checkpoint.parent)
    run(trainer, checkpoint.parent, on_checkpoint=lambda now: export(now, work / "latest.safetensors"))
    print(export(trainer, options.out, trainer.calibrated_logit_scale()))


if __name__ == "__main__":
    main()
