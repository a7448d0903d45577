"""Build `src/vlprompt/data/datasets/tables/pictobench-*.csv`: classes in label order, and their drawings.

    python tools/pictures/build_pictobench.py

Deterministic. Classes stand in a seeded random order, so that base and new classes are equally hard. The tables were
fixed before anything was evaluated on them; do not rebuild them for a better number.
"""

import csv
import random
from pathlib import Path

from pictobench_classes import TEXTS

SEED = 17
TABLES = Path(__file__).parents[2] / "src" / "vlprompt" / "data" / "datasets" / "tables"


def concepts(text: str) -> list[tuple[str, list[list[str]]]]:
    """Read "name: drawings | drawings; ..." as names, each with its groups of drawings."""
    entries = [entry.split(":") for entry in text.split(";")]
    return [(" ".join(name.split()), [group.split() for group in groups.split("|")]) for name, groups in entries]


def main() -> None:
    """Build all tables."""
    for name, text in TEXTS.items():
        rng = random.Random(f"{SEED}/pictobench-{name}")
        rows = sorted(concepts(text))
        rng.shuffle(rows)
        with (TABLES / f"pictobench-{name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("class", "drawings", "drawings in test images only"))
            for number, (label, groups) in enumerate(rows):
                # Of several groups, each in turn is that of the test images.
                unseen = groups.pop(number % len(groups)) if len(groups) > 1 else []
                table.writerow((label, " ".join(d for group in groups for d in group), " ".join(unseen)))
        print(f"pictobench-{name}: {len(rows)} classes")


if __name__ == "__main__":
    main()
