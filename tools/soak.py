"""Kill `vlprompt tune` repeatedly (`make soak`): every run must end with the result of an uninterrupted one.

    python -m tools.soak --kills 100 --seed 1

The tests do the same five times; `tests/helpers/kills.py` defines the comparison.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.helpers.kills import kill
from tests.helpers.nursery import Nursery

# Cached features and images; plain prompts, an average over epochs, and a cache that is trained.
METHODS = ("coop", "dapt", "promptsrc", "tip-adapter-f")


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill runs at random moments and resume them.")
    parser.add_argument("--kills", type=int, default=100, help="number of kills, over all methods (default: 100)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="seed of the moments of killing")
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas between (default: %(default)s)")
    options = parser.parse_args()
    methods, rng, begun, found = options.methods.split(","), random.Random(options.seed), time.monotonic(), Counter()
    print(f"{options.kills} kills, seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder, Nursery() as nursery:
        for number, method in enumerate(methods):
            root = Path(folder) / method
            root.mkdir()
            share = options.kills * (number + 1) // len(methods) - options.kills * number // len(methods)
            for moment in kill(root, nursery, method, share, rng):
                found[moment] += 1
                print(
                    f"{sum(found.values())}  {time.monotonic() - begun:.0f} s  {method} was killed {moment}", flush=True
                )
    print("\n".join(f"{count:4} {moment}" for moment, count in found.most_common()))
    print("every file was readable, and every run ended with the same record, prompts and predictions")


if __name__ == "__main__":
    main()
