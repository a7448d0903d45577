"""Tables match numbers computed by hand, and never average what must not be averaged."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results.cells import as_text
from vlprompt.results.collect import find_runs
from vlprompt.results.formats import print_tables, tables_to_csv, to_markdown
from vlprompt.results.tables import Table, make_tables


def tables(folder: Path, *, intervals: bool = False) -> list[Table]:
    found, problems = find_runs([folder])
    assert problems == []
    return make_tables(found, intervals=intervals)


def markdown(found: list[Table]) -> str:
    return to_markdown(found)


def lines(folder: Path, *, intervals: bool = False) -> list[list[str]]:
    """Return the cells of all tables in Markdown."""
    text = markdown(tables(folder, intervals=intervals))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_few_shot(tmp_path: Path) -> None:
    for seed, right in ((1, 10), (2, 12), (3, 17)):
        write_run(tmp_path / f"a{seed}", "coop", seed=seed, test=right, seconds=4.0 + seed)
        write_run(tmp_path / f"b{seed}", "coop", seed=seed, shots=16, test=right + 1, seconds=40.0)
        write_run(tmp_path / f"c{seed}", "zero-shot", seed=seed, test=5, parameters=0, seconds=1.0)
    head, zero_shot, coop = lines(tmp_path)
    assert head == ["dataset", "method", "1 shot", "16 shots", "parameters", "train s (16 shots)", "seeds"]
    assert zero_shot == ["openmoji", "`zero-shot`", "25.0 ± 0.0", "0/3 seeds", "–", "–", "see cells"]
    # 50, 60 and 85: mean 65, deviations -15, -5 and 20, variance 650 / 2
    assert coop == ["", "`coop`", "65.0 ± 18.0", "70.0 ± 18.0", "512", "40", "3/3"]
    (table,) = tables(tmp_path)
    assert table.conditions.title == "few-shot, recipe unified, backbone pictoclip fp32 (weights)"


def test_base_to_new_with_both_harmonic_means(tmp_path: Path) -> None:
    for dataset, rights in (("openmoji", ((16, 4), (8, 8))), ("fontawesome", ((20, 10), (12, 4)))):
        for seed, (base, new) in enumerate(rights, start=1):
            folder = tmp_path / f"{dataset}{seed}"
            write_run(folder, dataset=dataset, seed=seed, shots=16, protocol="base-to-new", base=base, new=new)
    head, fontawesome, openmoji, average = lines(tmp_path)
    assert head[2:] == ["base", "new", "H of averages", "average H", "parameters", "train s", "seeds"]
    # openmoji: 80 and 20 (H 32), 40 and 40 (H 40); of the averages 60 and 30: 40
    assert openmoji[2:6] == ["60.0 ± 28.3", "30.0 ± 14.1", "40.0", "36.0 ± 5.7"]
    # fontawesome: 100 and 50 (H 66.7), 60 and 20 (H 30); of the averages 80 and 35: 48.7
    assert fontawesome[2:6] == ["80.0 ± 28.3", "35.0 ± 21.2", "48.7", "48.3 ± 25.9"]
    # by seed: base 90 and 50, new 35 and 30, H 49.3 and 35; of the averages 70 and 32.5: 44.4
    assert average == ["average", "`coop`", "70.0 ± 28.3", "32.5 ± 3.5", "44.4", "42.2 ± 10.1", "512", "4.0", "–"]
    assert "base-to-new, 16 shots, recipe unified" in tables(tmp_path)[0].conditions.title


def test_base_and_new_in_one_label_space(tmp_path: Path) -> None:
    for seed, (open_base, open_new) in enumerate(((15, 5), (5, 5)), start=1):
        tests = {"base": 16, "new": 8, "open-base": open_base, "open-new": open_new}
        write_run(tmp_path / f"a{seed}", seed=seed, protocol="base-to-new", **tests)
        record = write_run(tmp_path / f"b{seed}", "dapt", seed=seed, protocol="base-to-new", base=16, new=8)
        record.tests = {}  # as in records of earlier versions
        record.write(tmp_path / f"b{seed}")
    head, coop, dapt = lines(tmp_path)
    assert head[6:9] == ["open-base", "open-new", "average open H"]
    # 75 and 25 (H 37.5), 25 and 25 (H 25)
    assert coop[6:9] == ["50.0 ± 35.4", "25.0 ± 0.0", "31.2 ± 8.8"]
    assert dapt[2:4] == ["80.0 ± 0.0", "40.0 ± 0.0"]
    assert dapt[6:9] == ["–", "–", "–"]


def test_targets_are_columns_and_averaged_without_the_source(tmp_path: Path) -> None:
    for seed, (source, digits, signs) in enumerate(((20, 10, 4), (20, 12, 8)), start=1):
        tests = {"source": source, "digits": digits, "signs": signs}
        write_run(tmp_path / f"a{seed}", seed=seed, protocol="cross-dataset", **tests)
    head, coop = lines(tmp_path)
    assert head[2:6] == ["source", "digits", "signs", "target average"]
    # by seed 50 and 20, 60 and 40: 35 and 50
    assert coop[2:6] == ["100.0 ± 0.0", "55.0 ± 7.1", "30.0 ± 14.1", "42.5 ± 10.6"]
    (table,) = tables(tmp_path, intervals=True)
    values = {column.quantity: value.sample for column, value in table.rows[0].values.items()}
    targets = [values[name] for name in ("digits", "signs", "target average")]
    widths = [sample.interval[1] - sample.interval[0] for sample in targets if sample and sample.interval]
    assert widths[2] < min(widths[:2]), "two targets' images are drawn independently"
    assert table.conditions.title.startswith("cross-dataset to digits, signs, 1 shot, recipe")


def test_different_targets_get_separate_tables(tmp_path: Path) -> None:
    write_run(tmp_path / "a", protocol="cross-dataset", source=10, digits=10)
    write_run(tmp_path / "b", "dapt", protocol="cross-dataset", source=10, signs=10)
    assert len(tables(tmp_path)) == 2
    record = write_run(tmp_path / "c", "dapt", protocol="cross-dataset", source=10, digits=12)
    record.tests["digits"].hash = "other images"
    record.write(tmp_path / "c")
    found = tables(tmp_path)[0]
    assert len(found.datasets) == 2, "targets with other images do not share a row"


@pytest.mark.parametrize(("metric", "shown"), [("macro_accuracy", "60.0"), ("calibration_error", "12.5")])
def test_other_metrics(metric: str, shown: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=12)
    (table,) = make_tables(find_runs([tmp_path])[0], metric=metric)
    assert [cell.text for cell in as_text(table).rows[0]] == ["openmoji", "coop", shown, "1/1"]
    assert not any(cell.best for cell in as_text(table).rows[0])


def test_single_seed_has_no_standard_deviation(tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=13)
    assert lines(tmp_path)[1][2] == "65.0"


def test_unfinished_cells_are_not_averaged(tmp_path: Path) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for seed in (1, 2, 3):
            write_run(tmp_path / f"{dataset}{seed}", "dapt", dataset=dataset, seed=seed, test=10)
            status = "interrupted" if (dataset, seed) == ("openmoji", 3) else "finished"
            write_run(tmp_path / f"{dataset}-coop{seed}", "coop", dataset=dataset, seed=seed, test=12, status=status)
    rows = lines(tmp_path)[1:]
    assert [row[:3] + row[-1:] for row in rows] == [
        ["fontawesome", "`coop`", "60.0 ± 0.0", "3/3"],
        ["", "`dapt`", "50.0 ± 0.0", "3/3"],
        ["openmoji", "`coop`", "2/3 seeds", "2/3"],
        ["", "`dapt`", "50.0 ± 0.0", "3/3"],
        ["average", "`coop`", "1/2 datasets", "–"],
        ["", "`dapt`", "50.0 ± 0.0", "–"],
    ]
    assert rows[2][3:5] == ["–", "–"]


def test_started_seed_counts_as_missing(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1, test=10)
    write_run(tmp_path / "b", seed=2, status="running", test=10)
    assert lines(tmp_path)[1][2] == "1/2 seeds"


def test_unequal_numbers_of_seeds_have_no_average(tmp_path: Path) -> None:
    for dataset, seed in (("openmoji", 1), ("openmoji", 2), ("fontawesome", 1)):
        write_run(tmp_path / f"{dataset}{seed}", dataset=dataset, seed=seed, test=10)
    assert lines(tmp_path)[-1][2] == "unequal seeds"


def test_different_conditions_get_separate_tables(tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=10)
    write_run(tmp_path / "b", test=11, recipe="paper")
    write_run(tmp_path / "c", test=12, weights="others")
    write_run(tmp_path / "d", test=13, settings=["optim.epochs=1"])
    write_run(tmp_path / "e", protocol="base-to-new", base=14, new=14)
    write_run(tmp_path / "f", protocol="base-to-new", shots=4, base=15, new=15)
    write_run(tmp_path / "g", test=16, settings=["backbone.precision=bf16"])
    found = tables(tmp_path)
    assert len(found) == 7
    assert all(len(table.rows) == 1 for table in found)
    assert any("recipe unified, optim.epochs=1, backbone pictoclip fp32" in table.conditions.title for table in found)


@pytest.mark.parametrize("differs", ["pool", "draw"])
def test_splits_of_a_dataset_do_not_share_a_cell(differs: str, tmp_path: Path) -> None:
    for split, right in (("one", 10), ("other", 20)):
        write_run(tmp_path / split, "coop", test=right, **{differs: split})
        write_run(tmp_path / f"{split}-zero", "zero-shot", test=5, **{differs: split})
    rows = lines(tmp_path)[1:]
    assert sorted((row[1], row[2]) for row in rows) == [
        ("`coop`", "100.0"),
        ("`coop`", "50.0"),
        ("`zero-shot`", "25.0"),
        ("`zero-shot`", "25.0"),
    ]
    names = [row[0] for row in rows if row[0]]
    assert len(set(names)) == len(names) == 2
    assert all(re.fullmatch(r"openmoji \(split [0-9a-f]{8}\)", name) for name in names)


def test_legend_mentions_classes_with_few_images(tmp_path: Path) -> None:
    write_run(tmp_path / "a", dataset="one", test=10, short={"a": 3, "b": 2})
    write_run(tmp_path / "b", dataset="two", test=10)
    (table,) = tables(tmp_path)
    assert [line for line in as_text(table).legend if "fewer" in line] == [
        "one: 2 classes have fewer training images than shots; all are used."
    ]


def test_variants_get_separate_rows(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "dapt", test=10)
    write_run(tmp_path / "b", "dapt", test=11, settings=["method.beta_text=0"])
    write_run(tmp_path / "c", "dapt", test=12, settings=["method.template=x {}, y"])
    assert [row[1:3] for row in lines(tmp_path)[1:]] == [
        ["`dapt`", "50.0"],
        ["`dapt[beta_text=0]`", "55.0"],
        ['`dapt[template="x {}, y"]`', "60.0"],
    ]


def test_duplicate_runs_count_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=10)
    write_run(tmp_path / "b", test=10)
    write_run(tmp_path / "0", status="interrupted", test=10)
    assert lines(tmp_path)[1][-1] == "1/1"


def test_indistinguishable_runs_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        record = write_run(tmp_path / folder, test=10)
        record.result_hash = folder
        record.write(tmp_path / folder)
    with pytest.raises(VLPromptError, match="different runs with the same labels and seed"):
        tables(tmp_path)


def test_intervals_match_brute_force_bootstrap(tmp_path: Path) -> None:
    for seed, right in ((1, 10), (2, 12), (3, 17)):
        write_run(tmp_path / f"a{seed}", seed=seed, test=right)
        write_run(tmp_path / f"z{seed}", "zero-shot", seed=seed, test=20)
    found = tables(tmp_path, intervals=True)[0]
    zero_shot, coop = (row.values[found.columns[0]].sample for row in found.rows)
    assert zero_shot is not None and coop is not None
    assert zero_shot.interval == pytest.approx((100, 100))
    assert coop.mean == pytest.approx(65)
    low, high = coop.interval or (0, 0)
    # The same by brute force: draw 3 of the seeds and 20 of the images, again and again.
    right_answers = np.arange(20) < np.array([[10], [12], [17]])
    rng = np.random.default_rng(0)
    means = [100 * right_answers[rng.integers(3, size=3)][:, rng.integers(20, size=20)].mean() for _ in range(4000)]
    expected = np.percentile(means, [2.5, 97.5])
    assert (low, high) == pytest.approx(expected, abs=2.5)
    assert f"65.0 ± 18.0 [{low:.1f}, {high:.1f}]" in markdown([found])
    assert tables_to_csv(tables(tmp_path, intervals=True)) == tables_to_csv([found])


def test_intervals_of_harmonic_means_and_averages(tmp_path: Path) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for seed in (1, 2):
            folder = tmp_path / f"{dataset}{seed}"
            write_run(folder, dataset=dataset, seed=seed, protocol="base-to-new", base=10 + seed, new=6 + seed)
    (table,) = tables(tmp_path, intervals=True)
    widths = {}
    for row in table.rows:
        for column, value in row.values.items():
            if column.quantity not in ("parameters", "train s"):
                assert value.sample is not None and value.sample.interval is not None
                low, high = value.sample.interval
                assert low < value.sample.mean < high
                widths[row.dataset, column.quantity] = high - low
    # Two datasets' images are drawn independently, so their average is known better than either.
    assert widths["average", "base"] < 0.85 * widths["openmoji", "base"]
    assert widths["average", "average H"] < 0.85 * widths["openmoji", "average H"]


def test_intervals_need_predictions_of_the_same_images(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", seed=seed, test=10)
    (tmp_path / "a2" / "predictions.parquet").write_bytes(b"x")
    assert lines(tmp_path)[1][2] == "50.0 ± 0.0"
    with pytest.raises(
        VLPromptError,
        match=r"a2/predictions.parquet cannot be read, but intervals and paired tests need it",
    ):
        tables(tmp_path, intervals=True)


def test_csv_identifies_every_number(tmp_path: Path) -> None:
    for seed, right in ((1, 10), (2, 12)):
        write_run(tmp_path / f"a{seed}", "dapt", settings=["method.beta_text=0"], seed=seed, test=right)
        write_run(tmp_path / f"b{seed}", seed=seed, test=9, status="finished" if seed == 1 else "running")
    rows = list(csv.DictReader(io.StringIO(tables_to_csv(tables(tmp_path)))))
    coop, dapt = (row for row in rows if row["quantity"] == "test")
    assert (coop["mean"], coop["have"], coop["need"], coop["of"]) == ("", "1", "2", "seeds")
    assert (float(dapt["mean"]), float(dapt["std"])) == pytest.approx((55, 50**0.5))
    assert (dapt["method"], dapt["dataset"], dapt["shots"]) == ("dapt[beta_text=0]", "openmoji", "1")
    assert {row["recipe"] for row in rows} == {"unified"}


def test_tables_fit_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", "dapt", settings=["method.beta_text=0"], seed=seed, test=10)
    found = tables(tmp_path, intervals=True)
    print_tables(found)
    out = capsys.readouterr().out
    assert "dapt[beta_text=0]" in out
    assert "50.0 ± 0.0 [" in out
    assert "95% interval, bootstrap over images and seeds" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_wide_tables_are_printed_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for seed in (1, 2):
            tests = {"base": 10, "new": 8, "open-base": 6, "open-new": 4}
            folder = tmp_path / f"{dataset}{seed}"
            write_run(folder, dataset=dataset, seed=seed, protocol="base-to-new", **tests)
    print_tables(tables(tmp_path))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    heads = [line for line in out.splitlines() if line.startswith("┃")]
    assert len(heads) > 1 and all("dataset" in head and "method" in head for head in heads)
    for column in lines(tmp_path)[0]:
        assert column in "".join(heads)


def test_folders_without_runs_and_damaged_records(tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match="none does not exist; give a folder"):
        find_runs([tmp_path / "none"])
    with pytest.raises(VLPromptError, match="no runs found in"):
        find_runs([tmp_path])
    write_run(tmp_path / "a", test=10)
    write_run(tmp_path / "b", test=10, seed=2, status="imported")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{}")
    found, problems = find_runs([tmp_path])
    assert [run.folder.name for run in found] == ["a"]
    assert len(problems) == 1
    assert "run.json cannot be read" in problems[0]


def test_harmonic_means_of_a_single_seed(tmp_path: Path) -> None:
    for dataset, seed in (("openmoji", 1), ("openmoji", 2), ("fontawesome", 1)):
        tests: dict[str, int] = {"base": 10, "new": 8, "open-base": 6, "open-new": 4}
        write_run(tmp_path / f"{dataset}{seed}", dataset=dataset, seed=seed, protocol="base-to-new", **tests)
    assert lines(tmp_path)[-1][2:9] == ["unequal seeds"] * 7


def test_labels_come_from_the_recorded_recipe(tmp_path: Path) -> None:
    for method in ("coop", "dapt"):
        write_run(tmp_path / method, method, settings=["data.crop_scale=[0.6, 1.0]"], test=10)
    record = write_run(tmp_path / "old", "maple", test=10)
    config = record.config.model_copy(update={"recipe": None, "overrides": {}})  # as in records of earlier versions
    record.model_copy(update={"config": config}).write(tmp_path / "old")
    recipes = {run.method.split("[")[0]: run.conditions.recipe for run in find_runs([tmp_path])[0]}
    assert recipes.pop("maple").startswith("not recorded")
    assert set(recipes.values()) == {"unified, data.crop_scale=[0.6, 1.0]"}


def test_record_with_invalid_values_is_reported(tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=10)
    record = write_run(tmp_path / "b", seed=2, test=10)
    record.trainable_parameters = 10**400
    record.write(tmp_path / "b")
    record = write_run(tmp_path / "c", seed=3, test=10)
    record.metrics["test"] = 50.0
    record.write(tmp_path / "c")
    found, left_out = find_runs([tmp_path])
    assert [run.folder.name for run in found] == ["a"]
    assert [line.split(" cannot be ")[0] for line in left_out] == [str(tmp_path / name / "run.json") for name in "bc"]
    assert "metrics.test must be a mapping, got 50.0" in left_out[1]


def test_backbones_loaded_in_different_ways_share_no_cell(tmp_path: Path) -> None:
    write_run(tmp_path / "a", test=10)
    write_run(tmp_path / "b", seed=2, settings=["backbone.quick_gelu=false"], test=10)
    tables = make_tables(find_runs([tmp_path])[0])
    assert [table.conditions.backbone for table in tables] == ["pictoclip", "pictoclip[quick_gelu=false]"]
