"""Pack finished grids into results/, and make docs/results.md, docs/report.html and README's table from them.

    sh results/run.sh runs/grids                # hours; continues where it stopped
    python -m tools.results pack runs/grids     # one zip archive of records per grid, then the pages
    python -m tools.results                     # the pages

Comments in the pages ask for tables and figures, which are written below them:

    <!-- table: base-to-new unified -->               methods with their recipes' own options
    <!-- variants: base-to-new unified dapt -->       a method and the effect of some of its options
    <!-- compare: base-to-new unified coop,dapt -->   paired tests of methods against the first
    <!-- averages: base-to-new unified coop,dapt -->  base, new and harmonic mean of methods, averaged over datasets
    <!-- claims -->                                   what papers claim, and what is seen
    <!-- plot: base-to-new unified base-new -->       a figure of `vlprompt plot`
    <!-- cost -->                                     number of runs, and the time that they took
"""

import argparse
import io
import re
import textwrap
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from vlprompt.results.cells import as_text
from vlprompt.results.collect import Run, find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.formats import to_markdown
from vlprompt.results.plots import make_plots
from vlprompt.results.quantities import OF_AVERAGES, OF_HARMONICS, TARGETS
from vlprompt.results.rendering import render
from vlprompt.results.report import make_report
from vlprompt.results.style import method_styles
from vlprompt.results.tables import AVERAGE, make_tables, method_order
from vlprompt.runs.record import read_records
from vlprompt.utils.files import atomic_write
from vlprompt.utils.strings import markdown_row

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
PAGE, README = ROOT / "docs" / "results.md", ROOT / "README.md"
REPORT = ROOT / "docs" / "report.html"
FIGURES = ROOT / "docs" / "images"
WIDTH = 120
KEPT = ("run.json", "predictions.parquet")
KINDS = "table|variants|compare|averages|claims|plot|cost"
PLACE = re.compile(rf"<!-- ({KINDS}):? ?([^>]*?) -->\n(?:.*?<!-- end -->\n)?", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """A paper's claim: the quantity of `method` is above (sign 1) or below (sign -1) that of `against`."""

    text: str
    source: str
    protocol: str
    recipe: str
    quantity: str
    method: str
    against: str
    sign: int = 1


_B2N, _OWN_B2N = ("base-to-new", "unified"), ("base-to-new", "paper")
_OTHER = ("cross-dataset", "unified", TARGETS)
_SHIFTED = ("domain-generalization", "unified", TARGETS)
_SHOTS = ("1 shot", "4 shots", "16 shots")
CLAIMS = [
    Claim("CoOp gains on base classes", "CoOp", *_B2N, "base", "coop", "zero-shot"),
    Claim("CoOp loses new classes", "CoCoOp", *_B2N, "new", "coop", "zero-shot", -1),
    Claim("CoCoOp keeps more of them than CoOp", "CoCoOp", *_B2N, "new", "cocoop", "coop"),
    Claim("KgCoOp keeps more of them than CoOp", "KgCoOp", *_B2N, "new", "kgcoop", "coop"),
    Claim("PromptSRC has a better harmonic mean than IVLP", "PromptSRC", *_B2N, OF_HARMONICS, "promptsrc", "ivlp"),
    Claim("MaPLe has a better harmonic mean than IVLP", "MaPLe", *_B2N, OF_HARMONICS, "maple", "ivlp"),
    Claim("CoOp is below zero-shot on other datasets", "CoCoOp", *_OTHER, "coop", "zero-shot", -1),
    Claim("CoCoOp is above CoOp on other datasets", "CoCoOp", *_OTHER, "cocoop", "coop"),
    Claim("MaPLe is above CoOp on other datasets", "MaPLe", *_OTHER, "maple", "coop"),
    Claim("PromptSRC is above CoOp on other datasets", "PromptSRC", *_OTHER, "promptsrc", "coop"),
    Claim("CoCoOp is above CoOp on shifted images", "CoCoOp", *_SHIFTED, "cocoop", "coop"),
    Claim("MaPLe is above CoOp on shifted images", "MaPLe", *_SHIFTED, "maple", "coop"),
    *(
        Claim(f"DAPT is above CoOp, {k}", "DAPT", "few-shot", recipe, k, "dapt", "coop")
        for recipe, k in product(("unified", "paper"), _SHOTS)
    ),
    Claim("DAPT's inter-dispersion helps", "DAPT", *_B2N, "base", "dapt", "dapt[beta_text=0]"),
    Claim("DAPT's intra-dispersion helps", "DAPT", *_B2N, "base", "dapt", "dapt[beta_visual=0]"),
    *(Claim(f"MuDPT is above CoOp, {k}", "MuDPT", "few-shot", "unified", k, "mudpt", "coop") for k in _SHOTS),
    *(
        Claim("MuDPT has a better harmonic mean than CoOp", "MuDPT", *grid, OF_HARMONICS, "mudpt", "coop")
        for grid in (_B2N, _OWN_B2N)
    ),
    Claim("MuDPT has a better harmonic mean than IVLP", "MuDPT", *_B2N, OF_HARMONICS, "mudpt", "ivlp"),
    Claim("MuDPT's transformer helps", "MuDPT", *_B2N, OF_HARMONICS, "mudpt", "mudpt[fusion=linear]"),
    Claim("Fusing both ways helps", "MuDPT", *_B2N, OF_HARMONICS, "mudpt", "mudpt[direction=text-to-visual]"),
    *(
        Claim("E2MIM has a better harmonic mean than CoOp", "E2MIM", *grid, OF_HARMONICS, "e2mim", "coop")
        for grid in (_B2N, _OWN_B2N)
    ),
    Claim("E2MIM's mutual information helps", "E2MIM", *_B2N, OF_HARMONICS, "e2mim", "e2mim[lambda_mi=0]"),
    Claim("E2MIM's augmentation helps", "E2MIM", *_B2N, OF_HARMONICS, "e2mim", "e2mim[lambda_aug=0]"),
    Claim("E2MIM's ensemble helps", "E2MIM", *_B2N, OF_HARMONICS, "e2mim", "e2mim[r=0]"),
]


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
    for path in (PAGE, README):
        atomic_write(path, page(path.read_text(encoding="utf-8"), runs, FIGURES))
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
    if kind == "claims":
        return _claims(runs)
    protocol, recipe, *rest = words
    found = _of(runs, protocol, recipe)
    of = rest[0] if kind == "variants" else None
    found = [run for run in found if (run.method.partition("[")[0] == of if of else "[" not in run.method)]
    if not found:
        return "*Not run yet.*"
    if kind == "plot":
        return _plot(found, rest[0], f"results-{protocol}-{recipe}-{rest[0]}.png", figures)
    if kind == "compare":
        return to_markdown(compare(found, rest[0].split(","))).strip()
    if kind == "averages":
        return _averages(found, rest[0].split(","))
    return to_markdown(make_tables(found)).strip()


def recipe_name(run: Run) -> str:
    """Return the name of the recipe without the settings that a grid changed: "unified, optim.epochs=5"."""
    return run.conditions.recipe.partition(",")[0]


def _of(runs: list[Run], protocol: str, recipe: str) -> list[Run]:
    return [run for run in runs if (run.conditions.protocol, recipe_name(run)) == (protocol, recipe)]


def _averages(runs: list[Run], methods: list[str]) -> str:
    table = as_text(*make_tables(runs))
    titles = {"method": "method", "base": "base", "new": "new", OF_AVERAGES: "harmonic mean"}
    places = [table.columns.index(title) for title in titles]
    rows = {cells[1]: cells for cells in ([cell.text for cell in row] for row in table.rows) if cells[0] == AVERAGE}
    lines = [list(titles.values()), ["---", *["---:"] * (len(titles) - 1)]]
    lines += [[rows[method][place] for place in places] for method in methods]
    return "\n".join(map(markdown_row, lines))


def _claims(runs: list[Run]) -> str:
    lines = [["claim", "paper", "test", "difference [95% interval]", "seen here"], ["---", "---", "---", "---:", "---"]]
    for claim in CLAIMS:
        found = _judged(claim, _of(runs, claim.protocol, claim.recipe))
        lines.append([claim.text, claim.source, f"{claim.protocol}, {claim.recipe}, {claim.quantity}", *found])
    return "\n".join(map(markdown_row, lines))


def _judged(claim: Claim, runs: list[Run]) -> tuple[str, str]:
    """Return the difference on average over datasets, or on the only dataset, and whether the claim is seen."""
    if {claim.method, claim.against} - {run.method for run in runs}:
        return "–", "not run"
    (comparison,) = compare(runs, [claim.against, claim.method])
    text = as_text(comparison)
    pairs = zip(comparison.differences, text.rows, strict=True)
    of_quantity = [(found, row) for found, row in pairs if found.quantity == claim.quantity]
    found, row = of_quantity[-1]  # the average comes last
    ends = {claim.sign * end > 0 for end in found.sample.interval or (0.0, 0.0)}
    verdict = "undecided" if len(ends) > 1 else "yes" if True in ends else "no, the opposite"
    (place,) = (number for number, title in enumerate(text.columns) if title.startswith("difference"))
    return row[place].text, verdict


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
    copied = len(records) - len(trained)
    others = f", {copied} of them with the prompts of another run" if copied else ""
    return (
        f"{len(records)} runs{others}: {core / 3600:.1f} core hours of preparation, training and testing in "
        f"{busy / timedelta(hours=1):.1f} hours of wall time."
    )


def _time(text: str | None) -> datetime:
    assert text, "finished runs record when they ended"
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
