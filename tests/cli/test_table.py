"""`vlprompt table`, `plot` and `report`: output, files and exit codes."""

import json
import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from tests.helpers.command_line import Call
from tests.helpers.records import write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method, right in (("zero-shot", 5), ("coop", 9), ("dapt", 12)):
        for seed in (1, 2):
            write_run(tmp_path / "runs" / f"{method}{seed}", method, seed=seed, test=right)
    return tmp_path / "runs"


def test_table_in_latex(call: Call, runs: Path) -> None:
    code, out, err = call("table", runs, "--format", "latex")
    assert (code, err) == (0, "")
    assert r"\textbf{60.0 $\pm$ 0.0}" in out


@pytest.mark.parametrize("format_", ["table", "terminal", "markdown", "latex", "csv", "json"])
def test_compare(format_: str, call: Call, runs: Path) -> None:
    write_run(runs / "more", "dapt", seed=3, test=12)
    code, out, err = call("table", runs, "--compare", "zero-shot,dapt", "--format", format_)
    assert code == 0
    assert "zero-shot" in out and "dapt" in out and "coop" not in out
    assert err == "left out: dapt on openmoji, 1 shot, seed 3: no finished run of zero-shot on the same split\n"


def test_intervals_with_compare_is_an_error(call: Call, runs: Path) -> None:
    code, out, err = call("table", runs, "--compare", "zero-shot,dapt", "--intervals")
    assert (code, out) == (2, "")
    assert err.startswith("error: --intervals has no effect with --compare")


def test_json_has_numbers_for_numbers(call: Call, runs: Path) -> None:
    rows = json.loads(call("table", runs, "--json")[1])
    (dapt,) = [row for row in rows if row["method"] == "dapt" and row["quantity"] == "test"]
    assert (dapt["mean"], dapt["have"], dapt["paper"]) == (60.0, 2, None)
    assert isinstance(dapt["weights"], str)


def test_compare_reports_unknown_methods(call: Call, runs: Path) -> None:
    code, out, err = call("table", runs, "--compare", "zero-shot,maple")
    assert (code, out) == (2, "")
    assert err == "error: no runs of maple; methods with runs: zero-shot, coop, dapt\n"


def test_plot_prints_its_files(call: Call, runs: Path, tmp_path: Path) -> None:
    code, out, _ = call("plot", runs, "--out", tmp_path / "plots", "--format", "svg")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "few-shot-unified-gain.svg",
        "few-shot-unified-time.svg",
    ]
    assert [Path(line.split("  ")[0]).is_file() for line in out.splitlines()] == [True, True]


def test_report_baseline(call: Call, runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "report.html"
    code, out, _ = call("report", runs, "--out", page, "--baseline", "coop")
    assert (code, out) == (0, f"wrote {page}\n")
    assert "Paired comparisons with coop" in page.read_text()
    code, _, err = call("report", runs, "--out", runs)
    assert code == 2
    assert err == f"error: --out {runs} is a folder; name a file, such as report.html\n"


def test_damaged_record_is_reported(call: Call, runs: Path, tmp_path: Path) -> None:
    (runs / "coop1" / "run.json").write_text("{")
    for words in (["table", runs], ["plot", runs, "--out", tmp_path], ["report", runs, "--out", tmp_path / "a.html"]):
        code, _, err = call(*words)
        assert code == 0
        assert err.startswith("left out: ") and "coop1" in err


def test_report_command_reproduces_the_runs(
    call: Call, pictures: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (pictures, weights):
        (tmp_path / path.name).symlink_to(path)
    words = ["few-shot", "--methods", "zero-shot,zero-shot[template=a red {}.]", "--datasets", pictures.name]
    words += ["--backbone", weights.name, "--shots", "1,2", "--seeds", "1,2", "--recipe", "unified", "--out", "runs"]
    assert call("run", *words, "--set", "data.split_seed=2", "--quiet")[0] == 0
    assert call("report", "runs")[0] == 0
    (command,) = re.findall(r"<pre><code>(.*?)</code></pre>", (tmp_path / "report.html").read_text(), re.DOTALL)
    program, *again = shlex.split(unescape(command).replace("\\\n", " "))
    assert program == "vlprompt"
    code, out, _ = call(*again, "--dry-run")
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()[:8]] == ["finished"] * 8
