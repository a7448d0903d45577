"""LaTeX of tables, and which numbers are highlighted."""

from pathlib import Path

from tests.helpers.records import write_run
from vlprompt.results.collect import find_runs
from vlprompt.results.formats import to_latex
from vlprompt.results.tables import make_tables


def latex(folder: Path, *, intervals: bool = False) -> str:
    tables = make_tables(find_runs([folder])[0], intervals=intervals)
    return to_latex(tables)


def rows(text: str) -> list[list[str]]:
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r"\\")]


def test_best_complete_cell_of_a_dataset_is_bold(tmp_path: Path) -> None:
    for dataset in ("openmoji", "fontawesome"):
        for seed in (1, 2):
            write_run(tmp_path / f"{dataset}a{seed}", "coop", dataset=dataset, seed=seed, test=10)
            write_run(tmp_path / f"{dataset}b{seed}", "dapt", dataset=dataset, seed=seed, test=12)
            write_run(tmp_path / f"{dataset}c{seed}", "ivlp", dataset=dataset, seed=seed, test=9 + seed)
            status = "finished" if seed == 1 else "running"
            write_run(tmp_path / f"{dataset}d{seed}", "maple", dataset=dataset, seed=seed, test=20, status=status)
    write_run(tmp_path / "openmojia1", "coop", dataset="openmoji", seed=1, test=14)
    found = {(row[0], row[1]): row[2] for row in rows(latex(tmp_path))}
    assert found["fontawesome", "coop"] == r"50.0 $\pm$ 0.0"
    assert found["", "dapt"] == r"\textbf{60.0 $\pm$ 0.0}"
    assert found["", "maple"] == "0/2 datasets"
    openmoji = latex(tmp_path).split("openmoji")[1]
    assert r"& coop & \textbf{60.0 $\pm$ 14.1}" in openmoji
    assert r"& dapt & \textbf{60.0 $\pm$ 0.0}" in openmoji
    assert r"& maple & 1/2 seeds" in openmoji


def test_latex_structure(tmp_path: Path) -> None:
    for method, right in (("coop", 10), ("dapt", 12)):
        for dataset in ("openmoji", "fontawesome"):
            write_run(tmp_path / f"{method}{dataset}", method, dataset=dataset, test=right)
    text = latex(tmp_path, intervals=True)
    assert text.startswith("% \\usepackage{booktabs,graphicx}\n\\begin{table}\n")
    parts = ["\\toprule", "\\midrule", "\\midrule", "\\midrule", "\\bottomrule"]
    assert [line for line in text.splitlines() if line.endswith("rule")] == parts
    assert "\\begin{tabular}{llrrrr}" in text
    assert {len(row) for row in rows(text)} == {6}
    assert "\\textbf{60.0} {[}" in text, "the interval is not bold"
    assert "95\\% interval" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    dataset = r"a_b & 50% #1 {x} \input{y} ~ ^ $z$ [w]"
    write_run(tmp_path / "a", "dapt", dataset=dataset, settings=["method.beta_text=0"], test=10)
    (head, row) = rows(latex(tmp_path).replace(r"\&", "AND"))
    assert row[0] == (
        r"a\_b AND 50\% \#1 \{x\} \textbackslash{}input\{y\} \textasciitilde{} \textasciicircum{} \$z\$ {[}w{]}"
    )
    assert row[1] == r"dapt{[}beta\_text=0{]}"
    assert len(head) == len(row)
