"""Numbers that papers printed, to stand beside ours.

`paper_numbers.csv` holds them as they were printed, with the place each was read in. Where several groups ran a method,
it is its authors' run, or the one that the later papers quote.
"""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vlprompt.results.collect import Section
from vlprompt.results.quantities import TARGETS

# Names under which the papers' weights are loaded; what other weights reach is no reproduction.
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
    """A number as it was printed, and where."""

    value: str
    source: str


def printed(
    section: Section,
    datasets: Collection[str],
    dataset: str | None,
    method: str,
    shots: int,
    quantity: str,
    metric: str = "accuracy",
) -> Printed | None:
    """What was printed for a place of a table; None where nothing was.

    Args:
        section: of the table.
        datasets: of the table. Averages are the papers' only over the same ones.
        dataset: of the row; None for the average over all.
        method: as the table calls it. One with options that are not its recipe's is not the paper's.
        shots: training images of each class.
        quantity: as the table calls it.
        metric: what it is of; papers printed accuracies.
    """
    backbone = next((paper for paper, names in BACKBONES.items() if section.backbone in names), None)
    if backbone is None or metric != "accuracy":
        return None
    if dataset is None:
        if {_plain(name) for name in datasets} != ELEVEN:
            return None
        dataset = "average of 11"
    targets = {_plain(name) for name in section.targets}
    if quantity == TARGETS and targets not in (ELEVEN - {_plain(dataset)}, SHIFTED):
        return None
    return _numbers().get((section.protocol, _plain(dataset), str(shots), backbone, method, _plain(quantity)))


@cache
def _numbers() -> dict[tuple[str, ...], Printed]:
    text = (files("vlprompt.results") / "paper_numbers.csv").read_text(encoding="utf-8")
    found: dict[tuple[str, ...], Printed] = {}
    for row in csv.DictReader(text.splitlines()):
        place = (row["protocol"], _plain(row["dataset"]), row["shots"], row["backbone"], row["method"])
        found[*place, _plain(row["quantity"])] = Printed(row["value"], row["source"])
    return found


def _plain(name: str) -> str:
    """Letters and digits alone, so that "oxford_pets" is OxfordPets."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
