"""Tables, plots and notes as HTML. Every text that comes from records is escaped here, and nowhere else."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from vlprompt.results.cells import MISSING, Sheet, Text
from vlprompt.results.panels import Looks
from vlprompt.results.plots import Plot
from vlprompt.results.style import marker_outline
from vlprompt.results.svg import NAMED, inline_svg
from vlprompt.results.tables import AVERAGE, method_order

NUMBER = ' class="number"'
INTERVAL = re.compile(r"(?P<mean>[^ ]+)(?P<spread> ± [^ ]+)?(?P<interval> \[[^]]*\])?")


def rows_table(sheet: Sheet, looks: Looks, *, label: str, kind: str = "") -> str:
    """A sheet as a table that can be filtered and sorted: a group of rows for each dataset, their average first.

    Of the kind "heat" the numbers are percentages that are tinted, too.
    """
    heads = "".join(
        f'<th scope="col"{"" if place < sheet.words else NUMBER}>{_breakable(title)}</th>'
        for place, title in enumerate(sheet.titles)
        if place
    )
    method = sheet.titles.index("method") if "method" in sheet.titles else None
    groups: dict[str, list[list[Text]]] = {}
    for line in sorted(sheet.lines, key=lambda line: line[0].text != AVERAGE):
        groups.setdefault(line[0].text, []).append(line)
    bodies = []
    for dataset, lines in groups.items():
        rows = [f'<tr class="group"><th colspan="{len(sheet.titles) - 1}" scope="rowgroup">{_kept(dataset)}</th></tr>']
        for line in lines:
            cells = [_cell(text, place, sheet.words, share=kind == "heat") for place, text in enumerate(line) if place]
            whose = "" if method is None else f' data-method="{looks[line[method].text].number}"'
            rows.append(f"<tr{whose}>{''.join(cells)}</tr>")
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    return _wide(f'<table class="rows {kind}"><thead><tr>{heads}</tr></thead>{"".join(bodies)}</table>', label)


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[Text]], *, label: str) -> str:
    """A table whose first column is names and the others are numbers."""
    heads = "".join(
        f'<th scope="col"{NUMBER if place else ""}>{_breakable(title)}</th>' for place, title in enumerate(titles)
    )
    cells = ("".join(_cell(text, place, 2) for place, text in enumerate(row, start=1)) for row in rows)
    lines = "".join(f"<tr>{line}</tr>" for line in cells)
    return _wide(f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>", label)


def plot_figures(plot: Plot, looks: Looks, key: str) -> str:
    """All panels of a plot with their legend, and what was left out."""
    methods = sorted({method for panel in plot.panels for method in panel.methods}, key=method_order)
    figures = []
    for number, panel in enumerate(plot.panels):
        label = f"{panel.title}. {plot.about} Methods: {', '.join(panel.methods)}."
        drawn = inline_svg(panel, looks, f"{key}-{number}", label)
        figures.append(f"<figure><figcaption>{escape(panel.title)}</figcaption>{drawn}</figure>")
    entries = "".join(
        f'<li data-method="{looks[method].number}">{_mark(method, looks, dashed=plot.dashed)}{escape(method)}</li>'
        for method in methods
    )
    legend = "" if plot.named else f'<ul class="key">{entries}</ul>'
    return f'<p class="about">{escape(plot.note)}</p>{legend}<div class="plots">{"".join(figures)}</div>'


def chips(looks: Looks) -> str:
    """A button for each method, with its mark, that hides and shows it."""
    return "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-method="{look.number}">'
        f"{_mark(method, looks)}{escape(method)}</button>"
        for method, look in looks.items()
    )


def more(summary: str, content: str, *, count: int) -> str:
    """So many rows, folded away until somebody wants them."""
    number = f'(<span class="count">{count}</span>)'
    return f'<details class="more"><summary>{escape(summary)} {number}</summary>{content}</details>'


def paragraph(text: str, kind: str) -> str:
    """A paragraph of a kind that the style sheet knows."""
    return f'<p class="{kind}">{escape(text)}</p>'


def notes(lines: Sequence[str]) -> str:
    """A list in small letters; nothing where there is nothing."""
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def definitions(entries: Mapping[str, str]) -> str:
    """Terms and what they are."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in entries.items())
    return f'<dl class="overview">{rows}</dl>'


def code(text: str) -> str:
    """A command to copy."""
    return f"<pre><code>{escape(text)}</code></pre>"


def embedded_json(content: object) -> str:
    """JSON that can lie within a `script` element: nothing in it ends the element or begins a comment."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell(text: Text, place: int, words: int, *, share: bool = False) -> str:
    if place == 1:
        return f'<th scope="row">{_breakable(text.text)}</th>'
    if place < words:
        return f"<td>{escape(text.text)}</td>"
    kinds = ["number"] + ["best"] * text.best
    kinds += ["lacking"] * (text.lacking and text.text != MISSING)
    value = "" if text.number is None else f' data-value="{text.number:.6g}"'
    tint = f' style="--share:{text.number:.0f}"' if share and text.number is not None else ""
    return f'<td class="{" ".join(kinds)}"{value}{tint}>{_spread(text.text)}</td>'


def _spread(text: str) -> str:
    """A mean with its spread and its interval, which are read after it."""
    found = INTERVAL.fullmatch(text)
    if found is None or not (found["spread"] or found["interval"]):
        return escape(text)
    parts = [escape(found["mean"])]
    parts += [f'<span class="spread">{escape(found["spread"])}</span>'] if found["spread"] else []
    parts += [f'<span class="interval">{escape(found["interval"].strip())}</span>'] if found["interval"] else []
    return "".join(parts)


def _breakable(name: str) -> str:
    """A name that may go on in the next line behind a comma, a bracket or an underscore."""
    return re.sub(r"[,\[_]", lambda found: f"{found[0]}<wbr>", escape(name))


def _kept(text: str) -> str:
    """A group's name, which stays in sight where the table is wider than the screen."""
    return f"<span>{escape(text)}</span>"


def _wide(table: str, label: str) -> str:
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def _mark(method: str, looks: Looks, *, dashed: bool = False) -> str:
    """A method's marker; of zero-shot the dashed line where it is drawn so."""
    look = looks[method]
    color = NAMED[look.color]
    drawn = f'<path d="{marker_outline(look.marker)}" style="fill: {color}"/>'
    if dashed and method == "zero-shot":
        drawn = f'<path d="M-0.75 0H-0.15M0.15 0H0.75" style="stroke: {color}; stroke-width: 0.25"/>'
    return f'<svg class="mark" viewBox="-0.75 -0.75 1.5 1.5" aria-hidden="true" focusable="false">{drawn}</svg>'
