"""Simulate what temperature scaling does to probabilities whose right temperature is known.

    python -m tools.calibration

Prints the table of docs/classifier.md: mean change of the expected calibration error, in points, by the right
temperature and the number of held-out images; for the rule of `vlprompt.training.calibration.calibrate`, and for the
temperature that fits the images best.
"""

import math
from collections.abc import Callable, Iterator

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlprompt.runs.record import TEMPERATURE_LIMIT
from vlprompt.training.calibration import BINS, calibrate

RIGHT = (0.5, 0.8, 1.0, 1.25, 2.0)
IMAGES = (20, 28, 100, 400)
CLASSES = (2, 7, 30, 100)
SIGNALS = (2.0, 4.0)
POPULATION = 4000
DRAWS = 40

Rule = Callable[[Tensor, Tensor], float]


def world(classes: int, signal: float, generator: torch.Generator) -> Tensor:
    """Return logits (N, C) of a population whose labels are distributed as their softmax.

    One class of each image stands out by about `signal`, which sets the accuracy.
    """
    logits = torch.randn(POPULATION, classes, generator=generator, dtype=torch.float64)
    favorite = torch.randint(classes, (POPULATION, 1), generator=generator)
    strength = signal * (1 + 0.5 * torch.randn(POPULATION, 1, generator=generator, dtype=torch.float64)).abs()
    return logits.scatter_add(1, favorite, strength)


def expected_error(logits: Tensor, right: Tensor) -> float:
    """Return the expected calibration error in percent of a population whose probabilities (N, C) are known.

    Labels are not drawn, so that the error is free of their chance.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    gap = right.gather(1, predicted[:, None])[:, 0] - confidence
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    return 100 * torch.zeros(BINS, dtype=gap.dtype).index_add(0, place, gap).abs().sum().item() / len(gap)


def best_fit(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature of maximum likelihood."""
    limit = math.log(TEMPERATURE_LIMIT)
    found = minimize_scalar(lambda log: cross_entropy(logits / math.exp(log), labels).item(), bounds=(-limit, limit))
    return math.exp(found.x)


def changes(rule: Rule, temperature: float, images: int, *, draws: int = DRAWS, seed: int = 1) -> Iterator[float]:
    """Yield the change of the expected calibration error in points, for each population and draw of images.

    Args:
        rule: maps logits (n, C) and labels (n,) of held-out images to a temperature.
        temperature: right temperature of the logits.
        images: number of held-out images, n.
        draws: number of draws of held-out images from each population.
        seed: seed of populations and draws.
    """
    generator = torch.Generator().manual_seed(seed)
    for classes in CLASSES:
        for signal in SIGNALS:
            calibrated = world(classes, signal, generator)
            right, logits = calibrated.softmax(-1), calibrated * temperature
            before = expected_error(logits, right)
            for _ in range(draws):
                drawn = torch.randint(POPULATION, (images,), generator=generator)
                labels = torch.multinomial(right[drawn], 1, generator=generator)[:, 0]
                yield expected_error(logits / rule(logits[drawn], labels), right) - before


def main() -> None:
    """Print the table."""
    rules: dict[str, Rule] = {"rule": lambda *given: calibrate(*given).temperature, "best fit": best_fit}
    columns = [(name, count) for name in rules for count in IMAGES]
    print("| right temperature | " + " | ".join(f"{name}, {count}" for name, count in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for temperature in RIGHT:
        cells = []
        for name, count in columns:
            found = list(changes(rules[name], temperature, count))
            cells.append(f"{sum(found) / len(found):+.1f}".replace("-", "−"))
        print(f"| {temperature:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
