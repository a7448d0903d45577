"""HTML of tables, plots and notes. All text from records is escaped here."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from vlprompt.results.cells import MISSING, TextCell, TextTable
from vlprompt.results.plots import Plot
from vlprompt.results.rendering import PAGE_COLORS, inline_svg
from vlprompt.results.style import Styles, marker_outline
from vlprompt.results.tables import AVERAGE, method_order

NUMBER = ' class="number"'
INTERVAL = re.compile(r"(?P<mean>[^ ]+)(?P<spread> ± [^ ]+)?(?P<interval> \[[^]]*\])?")


def rows_table(table: TextTable, styles: Styles, *, label: str, kind: str = "") -> str:
    """Return a table that can be filtered and sorted, with a group of rows for each dataset, the average first.

    Args:
        table: Table to show.
        styles: Styles of the methods.
        label: Name for screen readers.
        kind: "heat" tints the numbers, which must be percentages.
    """
    heads = "".join(
        f'<th scope="col"{"" if place < table.words else NUMBER}>{_breakable(title)}</th>'
        for place, title in enumerate(table.columns)
        if place
    )
    method = table.columns.index("method") if "method" in table.columns else None
    groups: dict[str, list[list[TextCell]]] = {}
    for row in sorted(table.rows, key=lambda row: row[0].text != AVERAGE):
        groups.setdefault(row[0].text, []).append(row)
    bodies = []
    for dataset, rows in groups.items():
        # The span keeps the group's name visible where the table is wider than the screen.
        name = f"<span>{escape(dataset)}</span>"
        lines = [f'<tr class="group"><th colspan="{len(table.columns) - 1}" scope="rowgroup">{name}</th></tr>']
        for row in rows:
            cells = [_cell(cell, place, table.words, share=kind == "heat") for place, cell in enumerate(row) if place]
            whose = "" if method is None else f' data-method="{styles[row[method].text].number}"'
            lines.append(f"<tr{whose}>{''.join(cells)}</tr>")
        bodies.append(f"<tbody>{''.join(lines)}</tbody>")
    return _wide(f'<table class="rows {kind}"><thead><tr>{heads}</tr></thead>{"".join(bodies)}</table>', label)


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[TextCell]], *, label: str) -> str:
    """Return a table of numbers whose first column holds names."""
    heads = "".join(
        f'<th scope="col"{NUMBER if place else ""}>{_breakable(title)}</th>' for place, title in enumerate(columns)
    )
    cells = ("".join(_cell(cell, place, 2) for place, cell in enumerate(row, start=1)) for row in rows)
    lines = "".join(f"<tr>{line}</tr>" for line in cells)
    return _wide(f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>", label)


def plot_figures(plot: Plot, styles: Styles, key: str) -> str:
    """Return all panels of a plot with a legend and a note on what is left out."""
    methods = sorted({method for panel in plot.panels for method in panel.methods}, key=method_order)
    figures = []
    for number, panel in enumerate(plot.panels):
        label = f"{panel.title}. {plot.about} Methods: {', '.join(panel.methods)}."
        drawn = inline_svg(panel, styles, f"{key}-{number}", label)
        figures.append(f"<figure><figcaption>{escape(panel.title)}</figcaption>{drawn}</figure>")
    entries = "".join(
        f'<li data-method="{styles[method].number}">{_mark(method, styles, dashed=plot.dashed)}{escape(method)}</li>'
        for method in methods
    )
    legend = "" if plot.named else f'<ul class="key">{entries}</ul>'
    return f'<p class="about">{escape(plot.note)}</p>{legend}<div class="plots">{"".join(figures)}</div>'


def chips(styles: Styles) -> str:
    """Return a button with a marker for each method, which hides and shows the method."""
    return "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-method="{style.number}">'
        f"{_mark(method, styles)}{escape(method)}</button>"
        for method, style in styles.items()
    )


def more(summary: str, content: str, *, count: int) -> str:
    """Return content in a closed `details` element, with its number of rows in the summary."""
    number = f'(<span class="count">{count}</span>)'
    return f'<details class="more"><summary>{escape(summary)} {number}</summary>{content}</details>'


def paragraph(text: str, kind: str) -> str:
    """Return a paragraph of a class in `page.css`."""
    return f'<p class="{kind}">{escape(text)}</p>'


def notes(lines: Sequence[str]) -> str:
    """Return a list of notes in small print, or an empty string without notes."""
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def definitions(entries: Mapping[str, str]) -> str:
    """Return a list of terms and their descriptions."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in entries.items())
    return f'<dl class="overview">{rows}</dl>'


def code(text: str) -> str:
    """Return a command to copy."""
    return f"<pre><code>{escape(text)}</code></pre>"


def embedded_json(content: object) -> str:
    """Return JSON for a `script` element: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell(cell: TextCell, place: int, words: int, *, share: bool = False) -> str:
    if place == 1:
        return f'<th scope="row">{_breakable(cell.text)}</th>'
    if place < words:
        return f"<td>{escape(cell.text)}</td>"
    kinds = ["number"] + ["best"] * cell.best
    kinds += ["lacking"] * (cell.lacking and cell.text != MISSING)
    value = "" if cell.number is None else f' data-value="{cell.number:.6g}"'
    tint = f' style="--share:{cell.number:.0f}"' if share and cell.number is not None else ""
    return f'<td class="{" ".join(kinds)}"{value}{tint}>{_spread(cell.text)}</td>'


def _spread(text: str) -> str:
    """Return a mean, its standard deviation and its interval in separate elements."""
    found = INTERVAL.fullmatch(text)
    if found is None or not (found["spread"] or found["interval"]):
        return escape(text)
    parts = [escape(found["mean"])]
    parts += [f'<span class="spread">{escape(found["spread"])}</span>'] if found["spread"] else []
    parts += [f'<span class="interval">{escape(found["interval"].strip())}</span>'] if found["interval"] else []
    return "".join(parts)


def _breakable(name: str) -> str:
    """Return a name that may wrap after a comma, a bracket or an underscore."""
    return re.sub(r"[,\[_]", lambda found: f"{found[0]}<wbr>", escape(name))


def _wide(table: str, label: str) -> str:
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def _mark(method: str, styles: Styles, *, dashed: bool = False) -> str:
    """Return a method's marker, or the dashed line of zero-shot in plots that draw it as one."""
    style = styles[method]
    color = PAGE_COLORS[style.color]
    drawn = f'<path d="{marker_outline(style.marker)}" style="fill: {color}"/>'
    if dashed and method == "zero-shot":
        drawn = f'<path d="M-0.75 0H-0.15M0.15 0H0.75" style="stroke: {color}; stroke-width: 0.25"/>'
    return f'<svg class="mark" viewBox="-0.75 -0.75 1.5 1.5" aria-hidden="true" focusable="false">{drawn}</svg>'
