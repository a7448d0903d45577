"""Pack finished grids into results/, and make docs/results.md and docs/report.html from them.

    sh results/run.sh runs/grids                # hours; continues where it stopped
    python -m tools.results pack runs/grids     # one zip archive of records per grid, then both pages
    python -m tools.results                     # both pages

Comments in docs/results.md ask for tables and figures, which are written below them:

    <!-- table: base-to-new unified -->               methods with their recipes' own options
    <!-- variants: base-to-new unified dapt -->       a method and the effect of some of its options
    <!-- compare: base-to-new unified coop,dapt -->   paired tests of methods against the first
    <!-- plot: base-to-new unified base-new -->       a figure of `vlprompt plot`
    <!-- cost -->                                     number of runs, and the time that they took
"""

import argparse
import io
import re
import textwrap
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vlprompt.results.collect import Run, find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.formats import to_markdown
from vlprompt.results.plots import make_plots
from vlprompt.results.rendering import render
from vlprompt.results.report import make_report
from vlprompt.results.style import method_styles
from vlprompt.results.tables import make_tables, method_order
from vlprompt.runs.record import read_records
from vlprompt.utils.files import atomic_write

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
PAGE = ROOT / "docs" / "results.md"
REPORT = ROOT / "docs" / "report.html"
FIGURES = ROOT / "docs" / "images"
WIDTH = 120
KEPT = ("run.json", "predictions.parquet")
PLACE = re.compile(r"<!-- (table|variants|compare|plot|cost):? ?([^>]*?) -->\n(?:.*?<!-- end -->\n)?", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack grids, and make docs/results.md and docs/report.html.")
    commands = parser.add_subparsers(dest="command")
    packing = commands.add_parser("pack", help="pack the records of finished runs into results/")
    packing.add_argument("grids", type=Path, help="folder that results/run.sh wrote into")
    given = parser.parse_args()
    if given.command == "pack":
        for path, count in pack(given.grids, RECORDS).items():
            print(f"{path}: {count} runs")
    runs, problems = find_runs([RECORDS])
    assert not problems, problems
    atomic_write(PAGE, page(PAGE.read_text(encoding="utf-8"), runs, FIGURES))
    atomic_write(REPORT, make_report(runs))


def pack(grids: Path, out: Path) -> dict[Path, int]:
    """Write one archive for each RECIPE/PROTOCOL folder, with the record and predictions of every finished run.

    The same runs give the same bytes: names are sorted and times are fixed.
    """
    records, problems = read_records(grids)
    assert not problems, problems
    archives: dict[Path, list[Path]] = {}
    for folder, record in sorted(records.items()):
        if record.status == "finished":
            recipe, protocol, *_ = folder.relative_to(grids).parts
            archives.setdefault(out / f"{recipe}-{protocol}.zip", []).append(folder)
    for path, folders in archives.items():
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for file in (folder / name for folder in folders for name in sorted(KEPT)):
                info = zipfile.ZipInfo(file.relative_to(grids).as_posix())  # its time is 1980, the earliest of a zip
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                archive.writestr(info, file.read_bytes(), compresslevel=9)
        atomic_write(path, content.getvalue())
    return {path: len(folders) for path, folders in archives.items()}


def page(text: str, runs: list[Run], figures: Path | None = None) -> str:
    """Return the page with all tables and figures that it asks for; figures are written if a folder is given."""

    def fill(match: re.Match[str]) -> str:
        kind, words = match[1], match[2].split()
        asked = f"<!-- {kind}{': ' if words else ''}{' '.join(words)} -->"
        return f"{asked}\n\n{_wrapped(_written(kind, words, runs, figures))}\n\n<!-- end -->\n"

    return PLACE.sub(fill, text)


def _written(kind: str, words: list[str], runs: list[Run], figures: Path | None) -> str:
    if kind == "cost":
        return _cost(runs)
    protocol, recipe, *rest = words
    found = [run for run in runs if (run.conditions.protocol, run.conditions.recipe) == (protocol, recipe)]
    of = rest[0] if kind == "variants" else None
    found = [run for run in found if (run.method.partition("[")[0] == of if of else "[" not in run.method)]
    if kind == "plot":
        return _plot(found, rest[0], f"results-{protocol}-{recipe}-{rest[0]}.png", figures)
    if kind == "compare":
        return to_markdown(compare(found, rest[0].split(","))).strip()
    return to_markdown(make_tables(found)).strip()


def _wrapped(text: str) -> str:
    """Wrap all lines but headings and rows of tables, which Markdown needs on one line."""
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False).fill
    lines = [line if line.startswith(("|", "#")) else wrap(line) for line in text.splitlines()]
    return "\n".join(lines)


def _plot(runs: list[Run], kind: str, name: str, figures: Path | None) -> str:
    tables = make_tables(runs)
    methods = sorted({run.method for run in runs}, key=method_order)
    gains = compare(runs, methods) if kind == "gain" else []
    (plot,) = (plot for plot in make_plots(tables, gains) if plot.kind == kind)
    if figures is not None:
        atomic_write(figures / name, render(plot, method_styles(methods), "png"))
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
        f"{len(records)} runs, of which {len(trained)} trained prompts of their own: {core / 3600:.1f} core hours of "
        f"preparation, training and testing in {busy / timedelta(hours=1):.1f} hours of wall time."
    )


def _time(text: str | None) -> datetime:
    assert text, "finished runs record when they ended"
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
