"""The comparison of a small grid's accuracies with committed intervals."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tools import accuracy

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import PHOTOS, UNIFIED, list_recipes


def test_intervals_hold_the_mean_of_further_seeds() -> None:
    low, high = accuracy.interval([50.0, 52.0, 51.0, 50.0, 52.0, 51.0])
    # The spread of one seed is 0.894, that of a difference of means of 3 and 6 seeds 0.632.
    assert (low, high) == (pytest.approx(51 - 3 * 0.632, abs=0.01), pytest.approx(51 + 3 * 0.632, abs=0.01))
    assert accuracy.interval([40.0] * 6) == (39.5, 40.5), "without randomness there is still room for rounding"


@pytest.mark.parametrize(
    ("found", "outside"),
    [
        ({"animals coop base": [80.0, 82.0, 81.0]}, 0),
        ({"animals coop base": [78.0, 79.0, 79.0]}, 1),
        ({"animals coop base": [86.0, 86.0, 86.0]}, 1),
        ({}, 1),
        ({"animals coop base": [81.0], "animals coop new": [50.0]}, 1),
    ],
    ids=["inside", "below", "above", "not-measured", "without-an-interval"],
)
def test_accuracies_outside_their_interval_are_counted(found: dict[str, Sequence[float]], outside: int) -> None:
    lines, count = accuracy.compared(found, {"animals coop base": (80.0, 84.0)})
    assert count == outside
    assert sum(line.startswith("OUTSIDE") for line in lines) == outside


def test_exit_status_says_whether_all_are_inside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "INTERVALS", tmp_path / "accuracy.json")
    values = [80.0, 81.0, 82.0, 80.0, 81.0, 82.0]
    monkeypatch.setattr(accuracy, "measure", lambda out, seeds: {"animals coop base": values[: len(seeds)]})
    monkeypatch.setattr("sys.argv", ["accuracy", "--record"])
    accuracy.main()
    monkeypatch.setattr("sys.argv", ["accuracy"])
    with pytest.raises(SystemExit, match=r"^0$"):
        accuracy.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok      animals coop base: 81.0, interval ")
    monkeypatch.setattr(accuracy, "measure", lambda out, seeds: {"animals coop base": [70.0]})
    with pytest.raises(SystemExit, match="1 of 1 accuracies are outside"):
        accuracy.main()


def test_every_method_has_committed_intervals() -> None:
    methods = {recipe.partition("/")[0] for recipe in list_recipes()} - {PHOTOS, UNIFIED}
    assert {method for grid in accuracy.GRIDS.values() for method in grid} == methods
    wanted = {
        f"{dataset} {method} {test}"
        for protocol, grid in accuracy.GRIDS.items()
        for dataset in accuracy.DATASETS
        for method in grid
        for test in PROTOCOLS[protocol].tests
    }
    assert set(json.loads(accuracy.INTERVALS.read_text(encoding="utf-8"))) == wanted
