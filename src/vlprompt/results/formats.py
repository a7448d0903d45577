"""Tables and comparisons for a terminal, Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable

from vlprompt.results.cells import Sheet, table_sheet
from vlprompt.results.comparisons import Comparison
from vlprompt.results.statistics import Sample
from vlprompt.results.tables import Table

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "[": "{[}",  # after a line's end it would be an option
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def print_tables(tables: Sequence[Table]) -> None:
    """On the terminal."""
    print_sheets([table_sheet(table) for table in tables])


def print_sheets(sheets: Sequence[Sheet]) -> None:
    """On the terminal; as wide as needed where the output goes elsewhere."""
    wide = None if Console().is_terminal else 400
    console = Console(width=wide, markup=False, emoji=False, highlight=False)
    for sheet in sheets:
        shown = RichTable(title=sheet.title, title_justify="left")
        for place, title in enumerate(sheet.titles):
            shown.add_column(title, justify="left" if place < sheet.words else "right")
        for new, cells in _once(sheet):
            if shown.row_count and new:
                shown.add_section()
            shown.add_row(*cells)
        console.print(shown)
    console.print(_legend(sheets), style="dim", soft_wrap=wide is not None)


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """A heading and a table for each sheet, and what the numbers are."""
    lines = []
    for sheet in sheets:
        rule = ["---"] * sheet.words + ["---:"] * (len(sheet.titles) - sheet.words)
        lines += [f"### {sheet.title}", "", _line(sheet.titles), _line(rule)]
        place = sheet.titles.index("method")
        for _, cells in _once(sheet):
            lines.append(_line([*cells[:place], f"`{cells[place]}`", *cells[place + 1 :]]))
        lines.append("")
    return "\n".join([*lines, _legend(sheets), ""])


def to_latex(sheets: Sequence[Sheet]) -> str:
    r"""A `table` for each sheet, for `\usepackage{booktabs,graphicx}`; of each column the best of a dataset is bold.

    What is wider than the line is made smaller.
    """
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for sheet in sheets:
        count = len(sheet.titles) - sheet.words
        lines += [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{_latex(sheet.title)}. {_latex(' '.join(sheet.legend))}}}",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{4pt}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{{'l' * sheet.words}{'r' * count}}}",
            r"\toprule",
            f"{' & '.join(map(_latex, sheet.titles))} \\\\",
            r"\midrule",
        ]
        for number, ((new, cells), line) in enumerate(zip(_once(sheet), sheet.lines, strict=True)):
            if number and new:
                lines.append(r"\midrule")
            shown = [_bold(text) if cell.best else _latex(text) for text, cell in zip(cells, line, strict=True)]
            lines.append(f"{' & '.join(shown)} \\\\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join([*lines, ""])


def tables_to_csv(tables: Sequence[Table]) -> str:
    """One line a number, with everything that tells it from others; empty where seeds are missing."""
    names = ["shots", "quantity", "mean", "std", "low", "high", "have", "need", "of", "paper", "paper_source"]
    rows = []
    for table in tables:
        for row in table.rows:
            for column, value in row.values.items():
                sample, paper = value.sample, value.printed
                found = (sample.mean, sample.std, *_interval(sample)) if sample else (None,) * 4
                beside = (paper.value, paper.source) if paper else (None, None)
                place = (*_about(table), row.dataset, row.method, column.shots, column.quantity)
                rows.append((*place, *found, value.have, value.need, value.of, *beside))
    return _csv([*ABOUT, "dataset", "method", *names], rows)


def comparisons_to_csv(comparisons: Sequence[Comparison]) -> str:
    """One line a difference, with everything that tells it from others."""
    names = ["quantity", "accuracy", "against_accuracy", "difference", "low", "high", "p", "p_holm", "have", "need"]
    rows = []
    for comparison in comparisons:
        for found in comparison.differences:
            place = (*_about(comparison), found.dataset, found.method, comparison.against, found.quantity)
            sample, chance = found.sample, (found.p, found.corrected)
            values = (found.ours, found.theirs, sample.mean, *_interval(sample), *chance, found.have, found.need)
            rows.append((*place, *values))
    return _csv([*ABOUT, "dataset", "method", "against", *names], rows)


ABOUT = ["protocol", "backbone", "weights", "precision", "recipe"]


def _about(shown: Table | Comparison) -> list[str]:
    return [getattr(shown.section, name) for name in ABOUT]


def _csv(names: list[str], rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def _interval(sample: Sample) -> tuple[float | None, float | None]:
    return sample.interval or (None, None)


def _once(sheet: Sheet) -> list[tuple[bool, list[str]]]:
    """Every line's texts, the dataset only where it differs from the line above; and whether it does."""
    lines, above = [], None
    for line in sheet.lines:
        dataset = line[0].text
        lines.append((dataset != above, [dataset if dataset != above else "", *(cell.text for cell in line[1:])]))
        above = dataset
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _legend(sheets: Sequence[Sheet]) -> str:
    """What the numbers of all sheets are, each sentence once."""
    return " ".join(dict.fromkeys(sentence for sheet in sheets for sentence in sheet.legend))


def _bold(text: str) -> str:
    """In LaTeX, without its interval."""
    number, bracket, interval = text.partition(" [")
    return f"\\textbf{{{_latex(number)}}}{_latex(bracket + interval)}"


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
