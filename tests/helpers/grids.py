"""A small grid of synthetic runs that covers all plots and reports."""

from pathlib import Path

import numpy as np

from tests.helpers.records import write_run

# Number of images that each method gains over zero-shot.
METHODS = {"zero-shot": 0, "coop": 4, "dapt": 6, "maple": 5}
HOSTILE = '<script>alert("x")</script> & $a_b$'


def some_right(count: int, seed: int, images: int = 40) -> list[bool]:
    """Return which images are correct: a fixed number, different ones per seed."""
    chosen = np.random.default_rng(seed).permutation(images)[:count]
    return [number in chosen for number in range(images)]


def write_grid(folder: Path, datasets: tuple[str, ...] = ("openmoji", "fontawesome")) -> None:
    """Write few-shot, base-to-new and cross-dataset runs; one few-shot run of maple is unfinished."""
    class_names = (HOSTILE, "b", "c")
    for dataset in datasets:
        for method, gain in METHODS.items():
            seconds = 1.0 if method == "zero-shot" else 5.0 * gain
            for seed in (1, 2):
                place, common = folder / dataset / method, {"class_names": class_names, "seconds": seconds}
                for shots in (1, 4):
                    last = (dataset, method, shots, seed) == (datasets[0], "maple", 4, 2)
                    right = some_right(14 + gain + shots * (gain > 0), seed if gain else 0)
                    write_run(
                        place / f"few-{shots}-{seed}",
                        method,
                        dataset=dataset,
                        shots=shots,
                        seed=seed,
                        status="interrupted" if last else "finished",
                        short={class_names[0]: 2} if shots == 4 and dataset == datasets[0] else None,
                        test=right,
                        **common,
                    )
                tests = {"base": 16 + gain, "new": 20 - gain // 2, "open-base": 12 + gain, "open-new": 14}
                answers = {test: some_right(count, seed if gain else 0) for test, count in tests.items()}
                write_run(
                    place / f"base-{seed}",
                    method,
                    dataset=dataset,
                    protocol="base-to-new",
                    seed=seed,
                    **common,
                    **answers,
                )
    for method, gain in METHODS.items():
        answers = {test: some_right(15 + gain, gain) for test in ("source", "digits", "signs")}
        write_run(folder / "cross" / method, method, dataset=datasets[0], protocol="cross-dataset", **answers)
