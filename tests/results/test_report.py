"""Report as a document: its contents, escaping of text from records, and no external resources."""

import base64
import hashlib
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.helpers.grids import HOSTILE, METHODS
from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import find_runs
from vlprompt.results.report import command, make_report


class Page(HTMLParser):
    """Parser for the elements of a page with their attributes, the texts of its tables, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.inside: list[str] = []
        self.feed(text)
        assert self.inside == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "wbr"):
            self.inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.inside:
            self.scripts[-1] += data
        elif "td" in self.inside or "th" in self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return report.read_text()


def write_pair(folder: Path) -> None:
    for method, right in (("zero-shot", 5), ("coop", 9)):
        for seed in (1, 2):
            write_run(folder / f"{method}{seed}", method, seed=seed, test=right)


def test_report_overview(page: str) -> None:
    total = 2 * 4 * 2 * 3 + 4
    assert f"{total - 1} finished of {total} (1 interrupted)" in page
    assert f"openmoji: classes with fewer training images than shots: {HOSTILE} (2 of 4)" in unescape(page)
    rows = Page(page).rows
    assert ["finished runs", "fontawesome", "openmoji"] in rows
    assert ["maple", "4/4", "3/4"] in rows
    assert "vlprompt 0." in page and "torch 2." in page


def test_tables_have_intervals_and_mark_missing_runs(page: str) -> None:
    rows = Page(page).rows
    assert any(re.fullmatch(r"55\.0 ± 0\.0\[\d+\.\d, \d+\.\d\]", cell) for row in rows for cell in row)
    assert any(row[0] == "maple" and "1/2 seeds" in row for row in rows)
    assert "bootstrap over images and seeds" in page


def test_comparisons_use_the_baseline(page: str, tmp_path: Path) -> None:
    assert "Paired comparisons with zero-shot" in page
    assert "Gain over zero-shot" in page
    assert "left out: maple on openmoji, 4 shots, seed 2: interrupted" in page
    write_pair(tmp_path)
    runs, _ = find_runs([tmp_path])
    other = make_report(runs, "coop")
    assert "Paired comparisons with coop" in other
    assert "Gain over coop" in other
    assert "Paired comparisons with zero-shot" not in other
    with pytest.raises(VLPromptError, match="no runs of kgcoop"):
        make_report(runs, "kgcoop")


def test_plots_are_included_with_labels(page: str) -> None:
    drawn = [attributes for tag, attributes in Page(page).elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(drawn) == 3 + 3 + 3 + 4 + 1 + 3 + 3 + 3
    assert all(attributes["aria-label"] for attributes in drawn)
    ids = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_class_accuracies_are_means_over_seeds(tmp_path: Path) -> None:
    for seed, right in ((1, [True, False, True, False]), (2, [True, True, False, False])):
        write_run(tmp_path / f"{seed}", seed=seed, class_names=("apple", "pear"), test=right)
    rows = Page(make_report(find_runs([tmp_path])[0])).rows
    # apple's images are the first and third: both right, then one; pear's: none, then one
    assert ["apple", "75.0"] in rows
    assert ["pear", "25.0"] in rows


def test_page_has_no_external_resources(page: str) -> None:
    parsed = Page(page)
    assert "://" not in page
    for tag, attributes in parsed.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form")
        for name in ("href", "src", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert "@import" not in page
    assert not [where for where in re.findall(r"url\(([^)]*)\)", page) if not where.startswith("#")]
    (policy,) = (attributes["content"] for tag, attributes in parsed.elements if attributes.get("http-equiv"))
    assert policy is not None and "default-src 'none'" in policy
    allowed = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in policy


def test_page_is_deterministic(tmp_path: Path) -> None:
    write_pair(tmp_path)
    assert make_report(find_runs([tmp_path])[0]) == make_report(find_runs([tmp_path])[0])


def test_page_embeds_the_records(page: str) -> None:
    records = json.loads(Page(page).scripts[0])
    assert len(records) == 52
    found = [record for record in records if record["protocol"] == "base-to-new" and record["method"] == "coop"]
    assert {record["metrics"]["base"]["accuracy"] for record in found} == {50}
    assert found[0]["metrics"]["harmonic_mean"] == pytest.approx(2 * 50 * 45 / 95)
    assert "class_accuracy" not in json.dumps(records)


def test_names_are_escaped_in_output(tmp_path: Path) -> None:
    dataset = HOSTILE.replace("/", "")
    text = '<img src=x onerror="alert(1)">{}--></script>'
    for method in ("zero-shot", "coop"):
        write_run(tmp_path / method, method, dataset=dataset, class_names=(HOSTILE, "b"), short={HOSTILE: 1}, test=10)
    write_run(tmp_path / "more", "coop", backbone=text, settings=[f"method.template={text}"], test=10)
    page = make_report(find_runs([tmp_path])[0])
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert any(HOSTILE in row for row in parsed.rows), "as a class's name, letter by letter"
    assert any(record["dataset"] == dataset for record in json.loads(parsed.scripts[0]))
    assert page.count("<script") == 2 and page.count("</script") == 2


def test_page_has_no_absolute_paths(tmp_path: Path) -> None:
    for method in METHODS:
        source, targets = str(tmp_path / "pictures"), {str(tmp_path / "others"): 10}
        write_run(tmp_path / method, method, dataset=source, protocol="cross-dataset", source=10, **targets)
    page = make_report(find_runs([tmp_path])[0])
    assert "--datasets pictures" in unescape(page)
    assert "--targets others" in unescape(page)
    assert str(tmp_path.parent) not in command(find_runs([tmp_path])[0])


def test_page_without_predictions_has_no_intervals(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "coop1" / "predictions.parquet").unlink()
    page = make_report(find_runs([tmp_path])[0])
    assert "No intervals and no paired tests" in page
    assert any(row[:2] == ["coop", "45.0 ± 0.0"] for row in Page(page).rows)
    assert "Paired comparisons" not in page


def test_page_of_unfinished_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "a", status="interrupted", test=10)
    assert "0 finished of 1 (1 interrupted)" in make_report(find_runs([tmp_path])[0])


def test_command_lists_all_non_default_settings(tmp_path: Path) -> None:
    changes = ["optim.epochs=1", "data.crop_scale=[0.5,0.9]", "backbone.precision=bf16", "data.split_seed=3"]
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", "dapt", seed=seed, settings=[*changes, "method.beta_text=0"], test=10)
        write_run(tmp_path / f"b{seed}", "coop", seed=seed, shots=4, settings=changes, test=10)
    assert command(find_runs([tmp_path])[0]).split(" \\\n    ") == [
        "vlprompt run few-shot",
        "--methods 'coop,dapt[beta_text=0]'",
        "--datasets openmoji",
        "--shots 1,4",
        "--seeds 1,2",
        "--recipe unified",
        "--backbone embedded",
        "--set optim.epochs=1",
        "--set 'data.crop_scale=[0.5, 0.9]'",
        "--set backbone.precision=bf16",
        "--set data.split_seed=3",
        "--out runs",
    ]


def test_recipe_set_gives_one_table(tmp_path: Path) -> None:
    for dataset in ("dtd", "eurosat"):
        for shots in (1, 16):
            write_run(
                tmp_path / f"{dataset}{shots}", "dapt", dataset=dataset, shots=shots, recipe="dapt/published", test=10
            )
    runs = find_runs([tmp_path])[0]
    assert len({run.conditions for run in runs}) == 1
    assert "--datasets dtd,eurosat" in command(runs)
    assert "--recipe dapt/published" in command(runs)


def test_runs_with_different_name_maps_get_separate_commands(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "coop", test=10)
    write_run(tmp_path / "b", "coop", seed=2, settings=[f"data.name_map={tmp_path}/words.csv"], test=10)
    one, other = command(find_runs([tmp_path])[0]).split("\n\n")
    assert "name_map" not in one and "--seeds 1 " in one
    assert "--set data.name_map=words.csv" in other and "--seeds 2 " in other


def test_runs_that_do_not_exist_are_counted_as_missing(tmp_path: Path) -> None:
    write_pair(tmp_path)
    shutil.rmtree(tmp_path / "coop1")
    assert "3 finished of 4 (1 missing)" in make_report(find_runs([tmp_path])[0])
