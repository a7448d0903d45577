"""Paired differences match numbers computed by hand; only runs on the same images are paired."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import find_runs
from vlprompt.results.comparisons import Comparison, Difference, compare
from vlprompt.results.formats import comparisons_to_csv, to_markdown
from vlprompt.results.statistics import sign_flip_p
from vlprompt.results.tables import make_tables


def compared(folder: Path, *methods: str) -> list[Comparison]:
    return compare(find_runs([folder])[0], methods)


def only(folder: Path, *methods: str) -> Difference:
    (comparison,) = compared(folder, *methods)
    (difference,) = comparison.differences
    return difference


def answers(*, first: int, count: int) -> list[bool]:
    return [first <= number < first + count for number in range(20)]


def test_difference_matches_hand_computation(tmp_path: Path) -> None:
    for seed, shift in ((1, 0), (2, 1), (3, 2)):
        write_run(tmp_path / f"a{seed}", "coop", seed=seed, test=answers(first=0, count=8))
        write_run(tmp_path / f"b{seed}", "dapt", seed=seed, test=answers(first=shift, count=12))
    found = only(tmp_path, "coop", "dapt")
    assert (found.dataset, found.quantity, found.method, found.have, found.need) == ("openmoji", "1 shot", "dapt", 3, 3)
    assert (found.ours, found.theirs) == pytest.approx((60, 40))
    assert found.sample.mean == pytest.approx(20)
    differences = np.array(
        [np.subtract(answers(first=s, count=12), answers(first=0, count=8), dtype=int) for s in range(3)]
    )
    assert found.p == pytest.approx(sign_flip_p(differences))
    low, high = found.sample.interval or (0, 0)
    assert low < 20 < high
    # The other way round it is the same with another sign.
    back = only(tmp_path, "dapt", "coop")
    assert back.sample.mean == pytest.approx(-20)
    assert back.p == found.p


def test_pairing_narrows_the_interval(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path / f"a{seed}", "coop", seed=seed, test=10)
        write_run(tmp_path / f"b{seed}", "dapt", seed=seed, test=11)
    low, high = only(tmp_path, "coop", "dapt").sample.interval or (0, 0)
    (table,) = make_tables(find_runs([tmp_path])[0], intervals=True)
    apart = [row.values[table.columns[0]].sample for row in table.rows]
    widths = [sample.interval[1] - sample.interval[0] for sample in apart if sample and sample.interval]
    assert high - low < 0.6 * min(widths)


def test_runs_on_other_splits_and_seeds_are_listed_as_left_out(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path / f"a{seed}", "coop", seed=seed, test=10)
    write_run(tmp_path / "b1", "dapt", seed=1, test=12)
    write_run(tmp_path / "b2", "dapt", seed=2, test=14, status="interrupted")
    write_run(tmp_path / "b4", "dapt", seed=4, test=16)
    write_run(tmp_path / "c1", "dapt", seed=3, test=18, pool="other")
    (comparison,) = compared(tmp_path, "coop", "dapt")
    alone = comparison.left_out
    (found,) = comparison.differences
    assert (found.have, found.need) == (1, 4)
    assert found.sample.mean == pytest.approx(10)
    said = {(*line.split(", ")[-1].split(": "), line.split()[0]) for line in alone}
    assert said == {
        ("seed 2", "no finished run of dapt on the same split", "coop"),
        ("seed 3", "no finished run of dapt on the same split", "coop"),
        ("seed 2", "interrupted", "dapt"),
        ("seed 3", "no finished run of coop on the same split", "dapt"),
        ("seed 4", "no finished run of coop on the same split", "dapt"),
    }
    assert len({line.split(",")[0] for line in alone if line.startswith("dapt")}) == 2, "the splits have names"


def test_same_seed_with_different_images_is_not_paired(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "coop", shots=1, test=10)
    write_run(tmp_path / "b", "dapt", shots=4, test=12)
    (comparison,) = compared(tmp_path, "coop", "dapt")
    assert comparison.differences == []
    assert len(comparison.left_out) == 2


def test_runs_tested_on_different_images_are_not_paired(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "coop", protocol="cross-dataset", source=10, digits=10)
    record = write_run(tmp_path / "b", "dapt", protocol="cross-dataset", source=10, digits=12)
    assert compared(tmp_path, "coop", "dapt")[0].differences
    record.tests["digits"].hash = "others"
    record.write(tmp_path / "b")
    assert not any(found.differences for found in compared(tmp_path, "coop", "dapt"))


def test_holm_corrects_for_all_tests_of_a_table(tmp_path: Path) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for method, right in (("coop", 4), ("dapt", 12), ("maple", 16)):
            write_run(tmp_path / f"{dataset}{method}", method, dataset=dataset, test=right)
    (comparison,) = compared(tmp_path, "coop", "dapt", "maple")
    tested = [found for found in comparison.differences if found.p is not None]
    assert comparison.tests == len(tested) == 4
    assert [found.p for found in tested] == pytest.approx([2 / 2**8, 2 / 2**12] * 2)
    assert [found.corrected for found in tested] == pytest.approx([4 / 2**8, 8 / 2**12] * 2)
    # Alone, a comparison has less to be corrected for.
    (alone,) = compared(tmp_path, "coop", "dapt")
    assert alone.differences[0].corrected == pytest.approx(4 / 2**8)


def test_average_needs_all_datasets(tmp_path: Path) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for seed in (1, 2):
            write_run(tmp_path / f"{dataset}a{seed}", "coop", dataset=dataset, seed=seed, test=10)
            right = 12 if dataset == "openmoji" else 16
            write_run(tmp_path / f"{dataset}b{seed}", "dapt", dataset=dataset, seed=seed, test=right)
    (comparison,) = compared(tmp_path, "coop", "dapt")
    average = comparison.differences[-1]
    assert (average.dataset, average.have, average.need, average.p) == ("average", 2, 2, None)
    assert average.sample.mean == pytest.approx(20)
    write_run(tmp_path / "openmojib2", "dapt", dataset="openmoji", seed=2, test=12, status="interrupted")
    (comparison,) = compared(tmp_path, "coop", "dapt")
    assert [found.dataset for found in comparison.differences] == ["fontawesome", "openmoji"]


def test_harmonic_means_and_target_averages_are_compared(tmp_path: Path) -> None:
    rights = {"coop": (16, 4, 10, 2), "dapt": (16, 16, 10, 10)}
    for method, (base, new, open_base, open_new) in rights.items():
        tests = {"base": base, "new": new, "open-base": open_base, "open-new": open_new}
        write_run(tmp_path / "base-to-new" / method, method, protocol="base-to-new", **tests)
        write_run(tmp_path / "to" / method, method, protocol="cross-dataset", source=base, digits=new, signs=open_new)
    base_to_new, cross = compared(tmp_path, "coop", "dapt")
    found = {difference.quantity: difference for difference in base_to_new.differences}
    assert list(found) == ["base", "new", "open-base", "open-new", "average H", "average open H"]
    assert found["average H"].sample.mean == pytest.approx(80 - 32)
    assert found["average open H"].sample.mean == pytest.approx(50 - 2 * 50 * 10 / 60)
    assert found["average H"].p is None and found["new"].p is not None
    targets = {difference.quantity: difference.sample.mean for difference in cross.differences}
    assert targets == pytest.approx({"source": 0, "digits": 60, "signs": 40, "target average": 50})


def test_compare_errors(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "coop", test=10)
    with pytest.raises(VLPromptError, match=r"no runs of dapt; methods with runs: coop"):
        compared(tmp_path, "coop", "dapt")
    with pytest.raises(VLPromptError, match="at least two methods"):
        compared(tmp_path, "coop", "coop")


def test_as_text(tmp_path: Path) -> None:
    for method, right in (("coop", 4), ("dapt", 18)):
        write_run(tmp_path / method, method, test=right)
    comparisons = compared(tmp_path, "dapt", "coop")
    text = to_markdown(comparisons)
    assert "| dataset | test | method | accuracy | dapt | difference [95% interval] | p | p (Holm) | seeds |" in text
    assert "| openmoji | 1 shot | `coop` | 20.0 | 90.0 | −70.0 [−90.0, −50.0] | <0.001 | <0.001 | 1/1 |" in text
    assert "Null hypothesis" in text
    (row,) = csv.DictReader(io.StringIO(comparisons_to_csv(comparisons)))
    assert (row["method"], row["against"], float(row["difference"])) == ("coop", "dapt", pytest.approx(-70))
    assert float(row["p_holm"]) == pytest.approx(2 / 2**14)
