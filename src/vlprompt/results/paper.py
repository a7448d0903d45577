"""Numbers printed in papers, shown beside ours.

`paper_numbers.csv` holds them as printed, each with its source. If several groups ran a method, the number is from its
authors' run, or from the run that later papers quote.
"""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vlprompt.results.collect import Conditions
from vlprompt.results.quantities import TARGETS

# Names of the papers' weights. Numbers with other weights are not comparable.
BACKBONES = {
    "ViT-B/16": ("ViT-B-16/openai", "ViT-B-16-quickgelu/openai", "ViT-B-16", "clip-vit-base-patch16"),
    "RN50": ("RN50/openai", "RN50-quickgelu/openai", "RN50"),
}
ELEVEN = frozenset(
    "imagenet caltech101 oxfordpets stanfordcars flowers102 food101 fgvcaircraft sun397 dtd eurosat ucf101".split()
)
SHIFTED = frozenset("imagenetv2 imagenetsketch imageneta imagenetr".split())


@dataclass(frozen=True)
class Printed:
    """Number as it was printed, and its source."""

    value: str
    source: str


def printed(
    conditions: Conditions,
    datasets: Collection[str],
    dataset: str | None,
    method: str,
    shots: int,
    quantity: str,
    metric: str = "accuracy",
) -> Printed | None:
    """Return the number printed for a cell of a table, or None.

    Args:
        conditions: Conditions of the table.
        datasets: Datasets of the table; averages are compared only if they are the papers' eleven.
        dataset: Dataset of the row; None for the average.
        method: Method label as in the table. A label with options has no counterpart in papers.
        shots: Training images per class.
        quantity: Quantity as the table names it.
        metric: Metric of the table; papers printed accuracies only.
    """
    backbone = next((paper for paper, names in BACKBONES.items() if conditions.backbone in names), None)
    if backbone is None or metric != "accuracy":
        return None
    if dataset is None:
        if {_plain(name) for name in datasets} != ELEVEN:
            return None
        dataset = "average of 11"
    targets = {_plain(name) for name in conditions.targets}
    if quantity == TARGETS and targets not in (ELEVEN - {_plain(dataset)}, SHIFTED):
        return None
    return _numbers().get((conditions.protocol, _plain(dataset), str(shots), backbone, method, _plain(quantity)))


@cache
def _numbers() -> dict[tuple[str, ...], Printed]:
    text = (files("vlprompt.results") / "paper_numbers.csv").read_text(encoding="utf-8")
    found: dict[tuple[str, ...], Printed] = {}
    for row in csv.DictReader(text.splitlines()):
        place = (row["protocol"], _plain(row["dataset"]), row["shots"], row["backbone"], row["method"])
        found[*place, _plain(row["quantity"])] = Printed(row["value"], row["source"])
    return found


def _plain(name: str) -> str:
    """Return the letters and digits of a name in lower case, so that "oxford_pets" equals "OxfordPets"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
