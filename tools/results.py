"""The benchmark on the embedded data: finished grids into results/, from there docs/results.md and docs/report.html.

    sh results/run.sh runs/grids                      # hours; goes on where it stopped
    python -m tools.results runs/grids                # take their records in, then make both pages again
    python -m tools.results                           # make both pages again

docs/results.md says what it wants between its words, and gets it written in behind:

    <!-- table: base-to-new unified -->               methods with their recipes' own options
    <!-- variants: base-to-new unified dapt -->       a method and what some of its options are worth
    <!-- compare: base-to-new unified coop,dapt -->   paired tests of others against the first
    <!-- plot: base-to-new unified base-new -->       a figure of `vlprompt plot`
    <!-- cost -->                                     how many runs, and how long they took
"""

import argparse
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vlprompt.results.cells import comparison_sheet, table_sheet
from vlprompt.results.collect import Run, find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.formats import to_markdown
from vlprompt.results.plots import make_plots, render
from vlprompt.results.report import make_report
from vlprompt.results.style import looks
from vlprompt.results.tables import make_tables, method_order
from vlprompt.runs.record import read_records
from vlprompt.utils.files import atomic_write

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
PAGE = ROOT / "docs" / "results.md"
REPORT = ROOT / "docs" / "report.html"
FIGURES = ROOT / "docs" / "images"
KEPT = ("run.json", "predictions.parquet")
PLACE = re.compile(r"<!-- (table|variants|compare|plot|cost):? ?([^>]*?) -->\n(?:.*?<!-- end -->\n)?", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Take grids in, and make docs/results.md and docs/report.html again.")
    parser.add_argument("grids", nargs="*", type=Path, help="folders that results/run.sh wrote into")
    for grids in parser.parse_args().grids:
        print(f"{take_in(grids)} records from {grids}")
    runs, problems = find_runs([RECORDS])
    assert not problems, problems
    atomic_write(PAGE, page(PAGE.read_text(encoding="utf-8"), runs, FIGURES))
    atomic_write(REPORT, make_report(runs))


def take_in(grids: Path) -> int:
    """Copy what tables need of all finished runs; how many there are."""
    records, _ = read_records(grids)
    finished = [folder for folder, record in records.items() if record.status == "finished"]
    for folder in finished:
        kept = RECORDS / folder.relative_to(grids)
        kept.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(folder / name, kept / name)
    return len(finished)


def page(text: str, runs: list[Run], figures: Path | None = None) -> str:
    """The page with everything written in that it asks for; its figures go into a folder, where one is given."""

    def fill(match: re.Match[str]) -> str:
        kind, words = match[1], match[2].split()
        asked = f"<!-- {kind}{': ' if words else ''}{' '.join(words)} -->"
        return f"{asked}\n\n{_written(kind, words, runs, figures)}\n\n<!-- end -->\n"

    return PLACE.sub(fill, text)


def _written(kind: str, words: list[str], runs: list[Run], figures: Path | None) -> str:
    if kind == "cost":
        return _cost(runs)
    protocol, recipe, *rest = words
    found = [run for run in runs if (run.record.config.protocol, run.section.recipe) == (protocol, recipe)]
    of = rest[0] if kind == "variants" else None
    found = [run for run in found if (run.method.partition("[")[0] == of if of else "[" not in run.method)]
    if kind == "plot":
        return _plot(found, rest[0], f"results-{protocol}-{recipe}-{rest[0]}.png", figures)
    if kind == "compare":
        sheets = [comparison_sheet(one) for one in compare(found, rest[0].split(","))]
    else:
        sheets = [table_sheet(table) for table in make_tables(found)]
    return to_markdown(sheets).strip()


def _plot(runs: list[Run], kind: str, name: str, figures: Path | None) -> str:
    tables = make_tables(runs)
    methods = sorted({run.method for run in runs}, key=method_order)
    gains = compare(runs, methods) if kind == "gain" else []
    (plot,) = (plot for plot in make_plots(tables, gains) if plot.kind == kind)
    if figures is not None:
        atomic_write(figures / name, render(plot, looks(methods), "png"))
    return f"![{plot.note}](images/{name})"


def _cost(runs: list[Run]) -> str:
    records = [run.record for run in runs]
    trained = [record for record in records if record.prompts_from is None]
    core = sum(sum(record.timings.values()) for record in trained)
    core += sum(record.timings["test"] for record in records if record.prompts_from is not None)
    busy, until = timedelta(), datetime.min.replace(tzinfo=UTC)
    for started, ended in sorted((_time(record.started), _time(record.ended)) for record in records):
        busy += max(timedelta(), ended - max(started, until))
        until = max(until, ended)
    return (
        f"{len(records)} runs, {len(trained)} of them with a training of their own: {core / 3600:.1f} core hours for "
        f"preparing, training and testing, which took {busy / timedelta(hours=1):.1f} hours of wall time."
    )


def _time(text: str | None) -> datetime:
    assert text, "the record of a finished run says when"
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
