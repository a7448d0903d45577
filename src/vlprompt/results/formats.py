"""Print tables and comparisons on the terminal, or format them as Markdown, LaTeX or CSV."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from vlprompt.results.cells import TextTable, as_text
from vlprompt.results.comparisons import Comparison
from vlprompt.results.statistics import Sample
from vlprompt.results.tables import Table
from vlprompt.utils.strings import csv_cell, markdown_code, markdown_row, markdown_text
from vlprompt.utils.terminal import CleanConsole, print_table

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "[": "{[}",  # at the start of a row it would be read as an argument of the preceding line break
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
NAME_WIDTH = 24  # characters of a name on a line of a terminal before it is wrapped
CONDITIONS = ["protocol", "backbone", "weights", "precision", "recipe"]


def print_tables(shown: Sequence[Table | Comparison]) -> None:
    """Print tables or comparisons on the terminal.

    A table that is wider than the terminal is printed in several parts, each with the row names.

    Examples:
        >>> print_tables(make_tables(find_runs([Path("results")])[0]))  # doctest: +SKIP
    """
    console = CleanConsole()
    tables = _as_text(shown)
    for table in tables:
        title = table.title
        for part in _parts(table, console.width):
            rows: list[list[str] | None] = []
            for starts_dataset, cells in _rows(table):
                if rows and starts_dataset:
                    rows.append(None)
                rows.append([cells[place] for place in part])
            print_table(rows, [table.columns[place] for place in part], title=title, console=console)
            title = "(continued)"
    console.print(_legend(tables), style="dim")


def to_markdown(shown: Sequence[Table | Comparison]) -> str:
    """Return a heading and a Markdown table for each, followed by the legend."""
    lines = []
    tables = _as_text(shown)
    for table in tables:
        rule = ["---"] * table.words + ["---:"] * (len(table.columns) - table.words)
        lines += [f"### {markdown_text(table.title)}", ""]
        lines += [markdown_row(map(markdown_text, table.columns)), markdown_row(rule)]
        method = table.columns.index("method")
        for _, cells in _rows(table):
            texts = [
                markdown_code(cell) if place == method else markdown_text(cell) for place, cell in enumerate(cells)
            ]
            lines.append(markdown_row(texts))
        lines.append("")
    return "\n".join([*lines, markdown_text(_legend(tables)), ""])


def to_latex(shown: Sequence[Table | Comparison]) -> str:
    r"""Return a LaTeX `table` for each, for `\usepackage{booktabs,graphicx}`; the best number of a dataset is bold.

    Tables that are wider than the line are scaled down.
    """
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for table in _as_text(shown):
        numbers = len(table.columns) - table.words
        lines += [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{_latex(table.title)}. {_latex(' '.join(table.legend))}}}",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{4pt}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{{'l' * table.words}{'r' * numbers}}}",
            r"\toprule",
            f"{' & '.join(map(_latex, table.columns))} \\\\",
            r"\midrule",
        ]
        for number, ((starts_dataset, texts), cells) in enumerate(zip(_rows(table), table.rows, strict=True)):
            if number and starts_dataset:
                lines.append(r"\midrule")
            row = [_bold(text) if cell.best else _latex(text) for text, cell in zip(texts, cells, strict=True)]
            lines.append(f"{' & '.join(row)} \\\\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join([*lines, ""])


def tables_to_csv(tables: Sequence[Table]) -> str:
    """Return CSV with one line per number and everything that identifies it; numbers are empty if seeds are missing."""
    names = ["shots", "quantity", "mean", "std", "low", "high", "have", "need", "of", "paper", "paper_source"]
    rows = []
    for table in tables:
        for row in table.rows:
            for column, value in row.values.items():
                sample, paper = value.sample, value.printed
                numbers = (sample.mean, sample.std, *_interval(sample)) if sample else (None,) * 4
                beside = (paper.value, paper.source) if paper else (None, None)
                key = (*_conditions(table), row.dataset, row.method, column.shots, column.quantity)
                rows.append((*key, *numbers, value.have, value.need, value.of, *beside))
    return _csv([*CONDITIONS, "dataset", "method", *names], rows)


def comparisons_to_csv(comparisons: Sequence[Comparison]) -> str:
    """Return CSV with one line per difference and everything that identifies it."""
    names = ["quantity", "accuracy", "against_accuracy", "difference", "low", "high", "p", "p_holm", "have", "need"]
    rows = []
    for comparison in comparisons:
        for found in comparison.differences:
            key = (*_conditions(comparison), found.dataset, found.method, comparison.against, found.quantity)
            sample, p_values = found.sample, (found.p, found.corrected)
            numbers = (found.ours, found.theirs, sample.mean, *_interval(sample), *p_values, found.have, found.need)
            rows.append((*key, *numbers))
    return _csv([*CONDITIONS, "dataset", "method", "against", *names], rows)


def _as_text(shown: Sequence[Table | Comparison]) -> list[TextTable]:
    """Return all as text, except comparisons without differences."""
    return [as_text(one) for one in shown if isinstance(one, Table) or one.differences]


def _parts(table: TextTable, width: int) -> Iterator[list[int]]:
    """Yield the columns of each part of a table: its names, and as many numbers as fit the width."""
    widths = [max(map(len, texts)) + 3 for texts in zip(table.columns, *(_texts(table)), strict=True)]
    names = list(range(table.words))
    used = start = 1 + sum(min(widths[place], NAME_WIDTH + 3) for place in names)
    part: list[int] = []
    for place in range(table.words, len(widths)):
        if part and used + widths[place] > width:
            yield names + part
            part, used = [], start
        part.append(place)
        used += widths[place]
    yield names + part


def _texts(table: TextTable) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def _rows(table: TextTable) -> Iterator[tuple[bool, list[str]]]:
    """Yield the texts of every row and whether it starts a dataset; a repeated dataset is left blank."""
    above = None
    for dataset, *others in _texts(table):
        yield dataset != above, [dataset if dataset != above else "", *others]
        above = dataset


def _conditions(shown: Table | Comparison) -> list[str]:
    return [getattr(shown.conditions, name) for name in CONDITIONS]


def _csv(names: list[str], rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([map(csv_cell, row) for row in rows])
    return buffer.getvalue()


def _interval(sample: Sample) -> tuple[float | None, float | None]:
    return sample.interval or (None, None)


def _legend(tables: Sequence[TextTable]) -> str:
    """Return the legends of all tables, each sentence once."""
    return " ".join(dict.fromkeys(sentence for table in tables for sentence in table.legend))


def _bold(text: str) -> str:
    """Return a cell in LaTeX with its number, but not its interval, in bold."""
    number, bracket, interval = text.partition(" [")
    return f"\\textbf{{{_latex(number)}}}{_latex(bracket + interval)}"


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in re.sub(r"\s+", " ", text))
