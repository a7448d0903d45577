"""Validation worlds: scenes of held-out drawings, whose classes are single concepts.

They are like the benchmark's datasets but for the drawings: held-out emoji of trained styles, and line art of styles
that are never trained on. Settings are chosen by them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from tools.pictoclip.captions import EVALUATION_TEMPLATE, VECTOR
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.render import Atlas
from tools.pictoclip.scenes import Mix
from torch import Tensor
from torch.nn import functional as F

GROUPS: Mapping[str, tuple[str, ...]] = {
    "animals": ("animal-",),
    "food": ("food-", "drink", "dishware"),
    "transport": ("transport-ground", "transport-water", "transport-air", "place-building", "place-other"),
    "objects": (
        "clothing",
        "household",
        "tool",
        "music",
        "phone",
        "computer",
        "light-video",
        "office",
        "sport",
        "game",
    ),
    "symbols": ("arrow", "av-symbol", "geometric", "zodiac", "religion", "math", "warning", "other-symbol", "heart"),
    "faces": ("face-", "cat-face", "monkey-face", "hand-", "hands", "body-parts"),
}
_SHOTS, _TESTS = 16, 12
_PROBE_C = 10.0
_LARGEST = 50
_DRAWS = 3
_SPREAD = 0.02
TextEncoder = Callable[[Sequence[str], float], Tensor]
ImageEncoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """A dataset: names of its C classes, test images (n, 3, S, S) in 0..1 with labels (n,), and those of a probe."""

    name: str
    classes: list[str]
    images: Tensor
    labels: Tensor
    probe_images: Tensor
    probe_labels: Tensor


def worlds(data: TrainingSet, atlas: Atlas, size: int, seed: int = 5) -> list[World]:
    """Compose the worlds of which the corpus holds out drawings of at least two concepts."""
    emoji = torch.cat([data.held_out["color"], data.held_out["solid"]]).tolist()
    groups = {name: [i for i in emoji if _subgroup(data, i).startswith(parts)] for name, parts in GROUPS.items()}
    groups["line"] = data.held_out["line"].tolist()
    found = []
    for name, drawings in groups.items():
        members: dict[str, list[int]] = {}
        for i in drawings:
            members.setdefault(data.corpus.drawings[i].code, []).append(i)
        codes = sorted(members)
        random.Random(seed).shuffle(codes)
        codes = codes[:_LARGEST]
        if len(codes) > 1:
            found.append(_world(name, [members[code] for code in codes], data, atlas, size, seed))
    return found


def _subgroup(data: TrainingSet, drawing: int) -> str:
    return data.corpus.concepts.by_code[data.corpus.drawings[drawing].code].subgroup


def _world(name: str, members: list[list[int]], data: TrainingSet, atlas: Atlas, size: int, seed: int) -> World:
    rng = np.random.default_rng((seed, len(members), len(name)))
    noise = torch.Generator(atlas.device).manual_seed(seed)
    each = _SHOTS + _TESTS
    main = np.array([drawings[n % len(drawings)] for drawings in members for n in range(each)])
    scenes = data.scenes(rng, main, None, Mix())
    parts = [atlas.render(scenes.rows(i, i + 500), size, noise).float() for i in range(0, len(main), 500)]
    images = torch.cat(parts)
    labels = torch.arange(len(members)).repeat_interleave(each).to(atlas.device)
    tested = (torch.arange(len(main)) % each >= _SHOTS).to(atlas.device)
    by_code = data.corpus.concepts.by_code
    classes = [by_code[data.corpus.drawings[drawings[0]].code].label.lower() for drawings in members]
    return World(name, classes, images[tested], labels[tested], images[~tested], labels[~tested])


def contexts(words: Sequence[str]) -> dict[str, list[tuple[str, float]]]:
    """Return templates with the spread of their vectors: the evaluation's, four random words, sixteen vectors."""
    rng = random.Random(3)
    return {
        "template": [(EVALUATION_TEMPLATE, 0.0)],
        "words": [(" ".join(rng.sample(words, 4)) + " {}.", 0.0) for _ in range(_DRAWS)],
        "vectors": [(" ".join([VECTOR] * 16) + " {}.", _SPREAD) for _ in range(_DRAWS)],
    }


def validate(
    data: TrainingSet, found: list[World], image: ImageEncoder, text: TextEncoder, probe: bool = False
) -> dict[str, Any]:
    """Return mean accuracies over worlds behind each context, what is kept of the template's, and times chance.

    `image` and `text` return unit features. `probe` adds a linear probe of 16 scenes of each class.
    """
    told = contexts(data.speaker.words)
    rows: dict[str, dict[str, float]] = {}
    for world in found:
        features = torch.cat([image(part) for part in world.images.split(500)])
        row = {}
        for kind, templates in told.items():
            accuracies = []
            for template, spread in templates:
                names = text([template.format(name) for name in world.classes], spread)
                accuracies.append(float(((features @ names.T).argmax(1) == world.labels).float().mean()))
            row[kind] = sum(accuracies) / len(accuracies)
        row["times_chance"] = row["template"] * len(world.classes)
        if probe:
            shots = torch.cat([image(part) for part in world.probe_images.split(500)])
            row["probe"] = _probe(shots, world.probe_labels, features, world.labels)
        rows[world.name] = row
    scores: dict[str, Any] = {
        key: sum(row[key] for row in rows.values()) / len(rows) for key in next(iter(rows.values()))
    }
    scores["words_kept"] = scores["words"] / max(scores["template"], 1e-9)
    scores["vectors_kept"] = scores["vectors"] / max(scores["template"], 1e-9)
    return scores | {"worlds": rows}


def fitted_logit_scale(found: list[World], image: ImageEncoder, text: TextEncoder) -> float:
    """Fit the factor on cosines to the worlds' classes, all worlds weighted equally.

    The factor that training ends with is overconfident: it suits drawings that were seen many times.
    """
    parts = []
    for world in found:
        names = text([EVALUATION_TEMPLATE.format(name) for name in world.classes], 0.0)
        features = torch.cat([image(part) for part in world.images.split(500)])
        parts.append(((features @ names.T).cpu(), world.labels.cpu()))

    def surprise(scale: float) -> float:
        return sum(float(F.cross_entropy(scale * cosines, labels)) for cosines, labels in parts)

    return float(minimize_scalar(surprise, bounds=(1.0, 100.0), method="bounded").x)


def _probe(shots: Tensor, shot_labels: Tensor, tests: Tensor, labels: Tensor) -> float:
    """Return the accuracy of a logistic regression, fitted where the features are.

    Its objective is scikit-learn's with C = 10, and so is the length of its history, which a step walks through twice.
    Double precision, since a line search stalls in TF32.
    """
    shots, tests = 10 * shots.double(), 10 * tests.double()
    weight = shots.new_zeros(int(shot_labels.max()) + 1, shots.shape[1], requires_grad=True)
    bias = shots.new_zeros(len(weight), requires_grad=True)
    fit = torch.optim.LBFGS([weight, bias], max_iter=200, history_size=10, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        fit.zero_grad()
        loss = F.cross_entropy(F.linear(shots, weight, bias), shot_labels, reduction="sum")
        loss = loss + weight.square().sum() / (2 * _PROBE_C)
        loss.backward()
        return loss

    with torch.enable_grad():
        fit.step(objective)
    return float((F.linear(tests, weight, bias).argmax(1) == labels).double().mean())
