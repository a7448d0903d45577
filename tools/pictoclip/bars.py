"""Measure the bars by which a model is chosen, on validation images of pictobench: zero-shot, a linear probe, CoOp.

    VLPROMPT_EMBEDDED=FILE python -m tools.pictoclip.bars --out FOLDER
    python -m tools.pictoclip.bars --out FOLDER --test    # of the model that was chosen, on test images

Without --test no test image is classified. Runs are kept in FOLDER, and finished ones are not repeated.
"""

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from tools.choose import common, run_on
from torch import Tensor

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.config.resolve import resolve_config
from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets.pictobench import PICTOBENCH
from vlprompt.data.image_set import ImageSet
from vlprompt.data.loading import expand_groups, load_dataset
from vlprompt.methods.create import create_method
from vlprompt.methods.shots import frozen_features

SEEDS = (1, 2, 3)
DRAWS = 10
WORDS, VECTORS = 4, 16
COLUMNS = ("times chance", "zero-shot", "words kept", "vectors kept", "base: zero-shot", "probe", "CoOp")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip.bars", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, metavar="SEED")
    parser.add_argument("--test", action="store_true", help="classify the test images, to report on a chosen model")
    options = parser.parse_args()
    backbone = load_backbone("embedded")
    print(f"| dataset | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    rows, tests = [], []
    for name in expand_groups(["pictobench"]):
        dataset = load_dataset(name)
        if not options.test:
            dataset = replace(dataset, test=dataset.val)
        tests.append(len(dataset.test))
        rows.append((*zero_shot(backbone, dataset), *tuned(backbone, dataset, options.out / name, options.seeds)))
        print(_line(name, rows[-1]), flush=True)
    print(_line("mean", [mean(column) for column in zip(*rows, strict=True)]))
    for place, title in ((1, "zero-shot"), (4, "base: zero-shot"), (5, "probe"), (6, "CoOp")):
        half = half_width([row[place] for row in rows], [count / (2 if place > 1 else 1) for count in tests])
        print(f"{title}: 95% interval of the mean ± {half:.1f} (images alone)")


def half_width(accuracies: Sequence[float], images: Sequence[float]) -> float:
    """Return half of the 95% interval of the mean over datasets of accuracies in %, from numbers of test images."""
    variance = sum(value * (100 - value) / count for value, count in zip(accuracies, images, strict=True))
    return 1.96 * math.sqrt(variance) / len(accuracies)


@torch.no_grad()
def zero_shot(backbone: Backbone, dataset: Dataset) -> tuple[float, float, float, float]:
    """Return times chance, accuracy in %, and the shares of it kept behind random words and vectors."""
    names = dataset.class_names
    features, labels = frozen_features(backbone, ImageSet(dataset.test, dataset.root, backbone.eval_transform))

    def accuracy(text: Tensor) -> float:
        return 100 * (features @ text.T).argmax(1).eq(labels).float().mean().item()

    def kept(text: Callable[[int], Tensor]) -> float:
        return mean(accuracy(text(draw)) for draw in range(DRAWS)) / plain

    plain = accuracy(backbone.template_features(dataset.template, names))
    own = {word for name in names for word in name.split()}
    words = sorted({word for known in PICTOBENCH for name in known.class_names for word in name.split()} - own)

    def behind_words(draw: int) -> Tensor:
        return backbone.template_features(" ".join(random.Random(draw).sample(words, WORDS)) + " {}.", names)

    def behind_vectors(draw: int) -> Tensor:
        torch.manual_seed(draw)
        return create_method("coop", backbone, names, ctx_init=None, n_ctx=VECTORS).text_features()

    return plain * len(names) / 100, plain, kept(behind_words), kept(behind_vectors)


def tuned(backbone: Backbone, dataset: Dataset, folder: Path, seeds: Sequence[int]) -> tuple[float, float, float]:
    """Return accuracies in % on base classes: zero-shot, a probe of 16 shots, CoOp from 16 random vectors."""
    found = []
    for seed in seeds:
        config = resolve_config(
            method="coop",
            protocol="base-to-new",
            settings=common(dataset.name, 16, seed) | {"method.ctx_init": None, "method.n_ctx": VECTORS},
        )
        record = run_on(dataset, config, folder / f"seed-{seed}", backbone, baselines=True)
        baselines = record.baselines
        found.append(
            (baselines["zero-shot"]["base"], baselines["linear-probe"]["base"], record.metrics["base"]["accuracy"])
        )
    first, second, third = zip(*found, strict=True)
    return mean(first), mean(second), mean(third)


def _line(name: str, row: Sequence[float]) -> str:
    cells = [f"{value:.2f}" if "kept" in column else f"{value:.1f}" for column, value in zip(COLUMNS, row, strict=True)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
