"""Papers' numbers are shown only beside comparable experiments, and are consistent with one another."""

import csv
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import write_run
from vlprompt.results.cells import TextTable, as_text
from vlprompt.results.collect import find_runs
from vlprompt.results.formats import tables_to_csv
from vlprompt.results.paper import ELEVEN, SHIFTED
from vlprompt.results.tables import make_tables

PAPERS = "ViT-B-16/openai"
NUMBERS = list(csv.DictReader((files("vlprompt.results") / "paper_numbers.csv").read_text().splitlines()))


def text_table(folder: Path) -> TextTable:
    (table,) = make_tables(find_runs([folder])[0])
    return as_text(table)


def column(found: TextTable, title: str) -> dict[tuple[str, str], str]:
    place = found.columns.index(title)
    return {(line[0].text, line[1].text): line[place].text for line in found.rows}


def base_to_new(folder: Path, dataset: str, method: str = "coop", **more: Any) -> None:
    options: dict[str, Any] = {"shots": 16, "backbone": PAPERS, "recipe": "paper", **more}
    write_run(folder / dataset / method, method, dataset=dataset, protocol="base-to-new", base=16, new=8, **options)


def test_printed_number_is_shown_beside_ours(tmp_path: Path) -> None:
    base_to_new(tmp_path, "oxford_pets")
    base_to_new(tmp_path, "oxford_pets", "dapt")
    found = text_table(tmp_path)
    assert found.columns[2:6] == ["base", "base (paper)", "new", "new (paper)"]
    assert column(found, "base")["oxford_pets", "coop"] == "80.0"
    assert column(found, "base (paper)") == {("oxford_pets", "coop"): "93.67", ("oxford_pets", "dapt"): "–"}
    assert column(found, "new (paper)")["oxford_pets", "coop"] == "95.29"
    assert any("PromptKD" in sentence and "as printed" in sentence for sentence in found.legend)
    (table,) = make_tables(find_runs([tmp_path])[0])
    row = next(row for row in csv.DictReader(io.StringIO(tables_to_csv([table]))) if row["quantity"] == "base")
    assert (row["mean"], row["paper"]) == ("80.0", "93.67")
    assert "PromptKD" in row["paper_source"]


@pytest.mark.parametrize(
    "more",
    [
        {"backbone": "pictoclip"},
        {"backbone": "ViT-B-16/laion2b_s34b_b88k"},
        {"backbone": "RN50/openai"},
        {"shots": 4},
        {"settings": ["method.n_ctx=8"]},
    ],
)
def test_printed_numbers_require_the_papers_conditions(more: dict[str, Any], tmp_path: Path) -> None:
    base_to_new(tmp_path, "dtd", **more)
    assert not [title for title in text_table(tmp_path).columns if "paper" in title]


def test_printed_average_requires_the_papers_datasets(tmp_path: Path) -> None:
    for dataset in sorted(ELEVEN - {"dtd"}):
        base_to_new(tmp_path, dataset)
    assert column(text_table(tmp_path), "base (paper)")["average", "coop"] == "–"
    base_to_new(tmp_path, "dtd")
    found = text_table(tmp_path)
    assert column(found, "base (paper)")["average", "coop"] == "82.69"
    assert column(found, "H of averages (paper)")["average", "coop"] == "71.66"
    assert "average H (paper)" not in found.columns, "papers print the other one"


@pytest.mark.parametrize(
    ("protocol", "targets", "average"),
    [
        ("cross-dataset", sorted(ELEVEN - {"imagenet"}), "63.88"),
        ("cross-dataset", sorted(ELEVEN - {"imagenet", "dtd"}), None),
        ("domain-generalization", ["imagenet-v2", "imagenet-sketch", "imagenet-a", "imagenet-r"], "59.28"),
        ("domain-generalization", ["imagenet-v2", "imagenet-a"], None),
    ],
)
def test_target_averages(protocol: str, targets: list[str], average: str | None, tmp_path: Path) -> None:
    tests = {"source": 14, **dict.fromkeys(targets, 12)}
    options: dict[str, Any] = {"dataset": "imagenet", "shots": 16, "backbone": PAPERS, "recipe": "paper"}
    write_run(tmp_path / "a", protocol=protocol, **options, **tests)
    found = text_table(tmp_path)
    if average is None:
        assert "target average (paper)" not in found.columns
    else:
        assert column(found, "target average (paper)") == {("imagenet", "coop"): average}
    if protocol == "domain-generalization":
        assert column(found, "imagenet-v2 (paper)") == {("imagenet", "coop"): "64.20"}


def test_other_backbones_have_their_own_numbers(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "tip-adapter", dataset="imagenet", shots=16, backbone="RN50/openai", test=12)
    assert column(text_table(tmp_path), "16 shots (paper)") == {("imagenet", "tip-adapter"): "62.01"}


def test_printed_numbers_are_consistent() -> None:
    values = {(row["protocol"], row["dataset"], row["method"], row["quantity"]): float(row["value"]) for row in NUMBERS}
    assert len(values) == len(NUMBERS), "one number for a place"
    assert all(row["source"] and 0 < float(row["value"]) < 100 for row in NUMBERS)
    for (protocol, dataset, method, quantity), value in values.items():
        if quantity == "H of averages":
            base, new = values[protocol, dataset, method, "base"], values[protocol, dataset, method, "new"]
            assert value == pytest.approx(2 * base * new / (base + new), abs=0.02)
    for method in ("zero-shot", "coop", "cocoop", "maple", "promptsrc"):
        for quantity in ("base", "new"):
            of_method = {key[1]: value for key, value in values.items() if key[2:] == (method, quantity)}
            printed = of_method.pop("average of 11")
            assert len(of_method) == 11
            assert sum(of_method.values()) / 11 == pytest.approx(printed, abs=0.01)
    shifted = [
        {key[3]: value for key, value in values.items() if key[0] == "domain-generalization" and key[2] == method}
        for method in ("coop", "cocoop", "maple")
    ]
    for found in shifted:
        average = found.pop("target average")
        assert len(found) == len(SHIFTED)
        assert sum(found.values()) / 4 == pytest.approx(average, abs=0.01)
