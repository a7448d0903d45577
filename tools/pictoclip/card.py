"""Figures and tables of the model card: curves, accuracy per class and per style, failures.

    python -m tools.pictoclip.card src/vlprompt/assets/pictoclip.safetensors --work ~/pictoclip --run run-10215424-1

Writes figures to `docs/images/pictoclip-*.png` and prints the tables. For reporting only, never for choosing settings.
"""

import argparse
import io
import json
import random
from pathlib import Path
from typing import Any

import open_clip
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from tools.pictoclip import corpus
from tools.pictoclip.captions import EVALUATION_TEMPLATE
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.evaluate import (
    SINGLE,
    Pictures,
    image_features,
    load_model,
    load_pictures,
    text_features,
    zero_shot,
)
from tools.pictoclip.model import MEAN, STD
from tools.pictoclip.names import SUBGROUP_PHRASES
from torch import Tensor
from torch.nn import functional as F

from vlprompt.utils.files import atomic_write

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#666666"
_FAILURES = 16
_COLUMNS = 8


def curves(log: Path) -> bytes:
    """Plot training losses and validation accuracy over the samples seen."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    steps, checks = [r for r in rows if "loss" in r], [r for r in rows if "template" in r]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(
        [r["seen"] / 1e6 for r in steps], [r["contrastive"] for r in steps], color=BLUE, lw=1, label="contrastive"
    )
    left.plot([r["seen"] / 1e6 for r in steps], [r["concept"] for r in steps], color=ORANGE, lw=1, label="prototypes")
    left.set(xlabel="million samples", ylabel="training loss", ylim=0)
    for kind, color, marker in (("template", BLUE, "o"), ("words", ORANGE, "s"), ("vectors", GREEN, "^")):
        accuracies = [100 * r[kind] for r in checks]
        right.plot([r["seen"] / 1e6 for r in checks], accuracies, color=color, marker=marker, ms=3, lw=1, label=kind)
    right.set(xlabel="million samples", ylabel="validation accuracy in %", ylim=0)
    for axes in (left, right):
        _plain(axes)
    return _png(figure)


def classes(pictures: Pictures, guesses: dict[str, Tensor]) -> bytes:
    """Plot the accuracy of each subgroup, in color and as line art, sorted by color."""
    accuracy = {style: _per_class(pictures.labels, found).numpy() for style, found in guesses.items()}
    order = accuracy["color"].argsort().tolist()
    figure = Figure(figsize=(8, 0.2 * len(order) + 0.8), layout="constrained")
    axes = figure.subplots()
    rows = range(len(order))
    axes.hlines(rows, accuracy["color"][order], accuracy["line"][order], color="#cccccc", lw=1, zorder=1)
    axes.scatter(accuracy["color"][order], rows, color=BLUE, s=18, label="color", zorder=2)
    hollow = {"edgecolors": ORANGE, "facecolors": "none"}  # keeps both markers visible where they coincide
    axes.scatter(accuracy["line"][order], rows, s=26, marker="D", label="line art", zorder=2, **hollow)
    axes.axvline(100 / len(order), color=GRAY, lw=0.8, ls=":", label="chance")
    counts = pictures.labels.bincount().tolist()
    names = [f"{SUBGROUP_PHRASES[pictures.subgroups[row]][0]} ({counts[row]})" for row in order]
    axes.set_yticks(rows, names, fontsize=7)
    axes.set(xlabel="zero-shot accuracy in %", xlim=(-2, 102), ylim=(-1, len(order)))
    _plain(axes)
    return _png(figure)


def failures(pictures: Pictures, guesses: dict[str, Tensor]) -> bytes:
    """Show a random sample of misclassified drawings, half of each style."""
    each = _FAILURES // len(guesses)
    figure = Figure(figsize=(1.5 * _COLUMNS, 2.0 * _FAILURES / _COLUMNS), layout="constrained")
    grid = iter(figure.subplots(_FAILURES // _COLUMNS, _COLUMNS).flatten())
    phrases = [SUBGROUP_PHRASES[subgroup][0] for subgroup in pictures.subgroups]
    for style, found in guesses.items():
        wrong = (found != pictures.labels).nonzero().flatten().tolist()
        for index in random.Random(0).sample(wrong, each):
            axes = next(grid)
            shown = pictures.images[style][index] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
            axes.imshow(shown.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set_title(phrases[pictures.labels[index]], fontsize=7)
            axes.set_xlabel(f"✗ {phrases[found[index]]}", fontsize=7, color="#b3261e")
            axes.set_xticks([])
            axes.set_yticks([])
    figure.supxlabel("Images: OpenMoji, CC BY-SA 4.0", fontsize=6, color=GRAY)
    return _png(figure)


@torch.no_grad()
def styles(model: open_clip.CLIP, data: TrainingSet) -> str:
    """Format the accuracy on held-out drawings of every style, among all subgroups, as Markdown."""
    groups = [row for row, name in enumerate(data.subgroup_names) if name in SUBGROUP_PHRASES]
    phrases = [SUBGROUP_PHRASES[data.subgroup_names[row]][0] for row in groups]
    text = text_features(model, phrases, [EVALUATION_TEMPLATE])
    rows: dict[tuple[str, str], list[bool]] = {}
    for kind, held_out in data.held_out.items():
        for part in held_out.split(250):
            images = data.plain(part, model.visual.image_size[0])
            best = (F.normalize(model.encode_image(images), dim=-1) @ text.T).argmax(1)
            for i, guess in zip(part.tolist(), best.tolist(), strict=True):
                if int(data.subgroups[i]) in groups:
                    right = groups[guess] == int(data.subgroups[i])
                    rows.setdefault((kind, data.corpus.drawings[i].style), []).append(right)
    lines = ["| held out | style | drawings | accuracy |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {k} | {s} | {len(right)} | {100 * sum(right) / len(right):.1f}% |" for (k, s), right in rows.items()]
    return "\n".join(lines)


def _per_class(labels: Tensor, guesses: Tensor) -> Tensor:
    """Return the accuracy (C,) of each class in %."""
    right = torch.bincount(labels, weights=(labels == guesses).double())
    return 100 * right / labels.bincount()


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    buffer.seek(0)
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    return small.getvalue()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip.card", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="working folder of the build")
    parser.add_argument("--run", required=True, help="name of the run's folder in it, for the curves")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for the figures (default: docs/images)")
    options = parser.parse_args(arguments)

    packages = options.work / "packages"
    model, pictures = load_model(options.weights), load_pictures(packages)
    guesses = zero_shot(model, image_features(model, pictures), pictures, SINGLE)
    shown: dict[str, Any] = {
        "curves": curves(options.work / options.run / "log.jsonl"),
        "classes": classes(pictures, guesses),
        "failures": failures(pictures, guesses),
    }
    for name, content in shown.items():
        atomic_write(options.out / f"pictoclip-{name}.png", content)
    print(styles(model, TrainingSet(corpus.load(options.work / "corpus.zip"))))


if __name__ == "__main__":
    main()
