"""Compare maps by names that they were not fitted to (`python -m tools.photos.evaluate`); no images are used."""

import argparse
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from tools.photos.fit import fit_map, kernel
from tools.photos.names import Known, class_names, class_synsets, known_names
from tools.photos.parts import Parts, load_parts
from tools.photos.wordnet import WordNet, read_wordnet
from torch import Tensor

FOLDS = 5
FAMILY = 8  # classes below a family, at least
Fit = Callable[[Tensor, Known, Tensor], Callable[[Tensor], Tensor]]


def regression(temperature: float, strength: float) -> Fit:
    def fit(vectors: Tensor, known: Known, rows: Tensor) -> Callable[[Tensor], Tensor]:
        centers, mixture = fit_map(vectors, known, rows, temperature, strength)
        return lambda asked: kernel(asked, centers, temperature) @ mixture @ rows

    return fit


def ridge(strength: float) -> Fit:
    def fit(vectors: Tensor, known: Known, rows: Tensor) -> Callable[[Tensor], Tensor]:
        aims, inputs = F.normalize(known.mixtures @ rows, dim=1), F.pad(vectors, (0, 1), value=1.0)
        solved = torch.linalg.solve(inputs.T @ inputs + strength * torch.eye(inputs.shape[1]), inputs.T @ aims)
        return lambda asked: F.pad(asked, (0, 1), value=1.0) @ solved

    return fit


def attention(temperature: float) -> Fit:
    def fit(vectors: Tensor, known: Known, rows: Tensor) -> Callable[[Tensor], Tensor]:
        aims = F.normalize(known.mixtures @ rows, dim=1)
        return lambda asked: (asked @ vectors.T / temperature).softmax(1) @ aims

    return fit


def mixed(first: Fit, second: Fit) -> Fit:
    def fit(vectors: Tensor, known: Known, rows: Tensor) -> Callable[[Tensor], Tensor]:
        one, other = first(vectors, known, rows), second(vectors, known, rows)
        return lambda asked: F.normalize(one(asked), dim=1) + F.normalize(other(asked), dim=1)

    return fit


def network(hidden: int, steps: int = 300) -> Fit:
    def fit(vectors: Tensor, known: Known, rows: Tensor) -> Callable[[Tensor], Tensor]:
        torch.manual_seed(0)
        base, aims = ridge(3.0)(vectors, known, rows), F.normalize(known.mixtures @ rows, dim=1)
        layers = torch.nn.Sequential(
            torch.nn.Linear(vectors.shape[1], hidden), torch.nn.GELU(), torch.nn.Linear(hidden, len(rows))
        )
        optimizer = torch.optim.AdamW(layers.parameters(), 1e-3, weight_decay=0.05)
        for _ in range(steps):
            chosen = torch.randint(len(vectors), (256,))
            asked = F.normalize(vectors[chosen] + 0.02 * torch.randn(256, vectors.shape[1]), dim=1)
            found = F.normalize(base(asked) + layers(asked) @ rows, dim=1)
            loss = (1 - (found * aims[chosen]).sum(1)).mean()
            loss = loss + 0.3 * F.cross_entropy(20 * found @ rows.T, known.mixtures[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return lambda asked: base(asked) + layers(asked).detach() @ rows

    return fit


CANDIDATES = {
    "ridge 3": ridge(3.0),
    "attention 0.05": attention(0.05),
    "attention 0.1": attention(0.1),
    "ridge 3 + attention 0.05": mixed(ridge(3.0), attention(0.05)),
    "network 512": network(512),
    "kernel 0.1, 0.3": regression(0.1, 0.3),
    "kernel 0.15, 0.3": regression(0.15, 0.3),
    "kernel 0.25, 0.3": regression(0.25, 0.3),
}


def folds(wordnet: WordNet, *, families: bool) -> list[list[int]]:
    """Return classes that are held out together: single ones, or whole families such as the dogs."""
    synsets = class_synsets()
    below = wordnet.below(synsets)
    kin = [next(s for s in wordnet.broader(name) if len(below[s]) >= FAMILY) for name in synsets]
    groups = sorted(set(kin)) if families else synsets
    random.Random(0).shuffle(groups)
    keys = kin if families else synsets
    return [[i for i, key in enumerate(keys) if key in set(groups[fold::FOLDS])] for fold in range(FOLDS)]


def held_out(parts: Parts, wordnet: WordNet, fits: dict[str, Fit], *, families: bool) -> Iterator[tuple[str, str]]:
    """Yield the figures of each fit: cosine to the own row, and how often a row finds its name.

    Rows stand for images: a row is classified among all names held out with it, and among ten of them.
    """
    names = [name[0] for name in class_names()]
    asked, folded = parts.encoder.names(names), folds(wordnet, families=families)
    known = [known_names(wordnet, set(hidden)) for hidden in folded]
    texts = sorted({text for one in known for text in one.texts})
    index, vectors = {text: i for i, text in enumerate(texts)}, parts.encoder.names(texts)
    figures: dict[str, list[list[Tensor]]] = {name: [[], [], []] for name in fits}
    draw = torch.Generator().manual_seed(0)
    for hidden, names_left in zip(folded, known, strict=True):
        places = [index[text] for text in names_left.texts]
        trials = [torch.randperm(len(hidden), generator=draw)[:10] for _ in range(40)]
        for name, fit in fits.items():
            found = F.normalize(fit(vectors[places], names_left, parts.rows)(asked[hidden]), dim=1)
            scores = parts.rows[hidden] @ found.T
            figures[name][0].append(scores.diagonal())
            figures[name][1].append((scores.argmax(1) == torch.arange(len(hidden))).float())
            figures[name][2] += [
                (scores[chosen][:, chosen].argmax(1) == torch.arange(len(chosen))).float() for chosen in trials
            ]
    for name, (cosines, among, ten) in figures.items():
        yield name, f"{torch.cat(cosines).mean():.3f} | {_percent(among)} | {_percent(ten)}"


def _percent(hits: list[Tensor]) -> str:
    return f"{100 * torch.cat(hits).mean():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.photos.evaluate", description=__doc__)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of WordNet 3.0's database files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts, wordnet = load_parts(), read_wordnet(options.wordnet)
    single = dict(held_out(parts, wordnet, CANDIDATES, families=False))
    whole = dict(held_out(parts, wordnet, CANDIDATES, families=True))
    print("| map | cosine | all | of ten | cosine, families | all | of ten |")
    print("| --- " + "| ---: " * 6 + "|")
    for name in CANDIDATES:
        print(f"| {name} | {single[name]} | {whole[name]} |")


if __name__ == "__main__":
    main()
