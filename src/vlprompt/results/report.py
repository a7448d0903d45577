"""One HTML page of runs: what was run, what came out, and how to do it again. It needs no other file and no network."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.results import markup
from vlprompt.results.cells import MISSING, Sheet, Text, comparison_sheet, table_sheet
from vlprompt.results.collect import Run, Section
from vlprompt.results.comparisons import Comparison, compare
from vlprompt.results.panels import Looks
from vlprompt.results.plots import Plot, make_plots
from vlprompt.results.quantities import have_predictions
from vlprompt.results.reproduce import command
from vlprompt.results.style import looks
from vlprompt.results.svg import palette
from vlprompt.results.tables import Table, by_section, finished_by_seed, make_tables, method_order, shots_title
from vlprompt.runs.record import RunRecord

TITLE = "vlprompt benchmark report"
OTHER_METRICS = {
    "macro_accuracy": "Macro accuracy",
    "calibration_error": "Calibration error",
    "calibrated_error": "Calibration error after temperature scaling",
}
NAMES = {
    "shots": "Accuracy against shots",
    "base-new": "Base against new",
    "gain": "Gain",
    "time": "Time against accuracy",
}


def make_report(runs: Sequence[Run], baseline: str | None = None) -> str:
    """The page.

    Args:
        runs: as `find_runs` gave them.
        baseline: what the other methods are compared with; None for zero-shot where it was run.

    Raises:
        VLPromptError: no run is of the baseline; or predictions that cannot be read, or are of different images.
    """
    methods = sorted({run.method for run in runs}, key=method_order)
    predicted = have_predictions(runs)
    tables = make_tables(runs, intervals=predicted)
    against = baseline or ("zero-shot" if "zero-shot" in methods and len(methods) > 1 else None)
    comparisons: list[Comparison] = []
    if against is not None and predicted:
        comparisons = compare(runs, [against, *(method for method in methods if method != against)])
    plots, styles = make_plots(tables, comparisons), looks(methods)
    sections = by_section(runs)
    names = _section_names(list(sections))
    parts = [
        _section(
            names[section],
            f"part-{number}",
            section,
            own,
            next(table for table in tables if table.section == section),
            [comparison for comparison in comparisons if comparison.section == section],
            [plot for plot in plots if plot.section == section],
            styles,
        )
        for number, (section, own) in enumerate(sections.items())
    ]
    entries = [(f"part-{number}", names[section]) for number, section in enumerate(sections)]
    entries.append(("environment", "Environment and runs"))
    links = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in entries)
    light, dark = palette()
    script = _file("page.js")
    return Template(_file("page.html")).substitute(
        title=TITLE,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        light=light,
        dark=dark,
        style=_file("page.css"),
        overview=_overview(runs, methods, tables, predicted=predicted),
        contents=f"<ul>{links}</ul>",
        chips=markup.chips(styles),
        main="".join([*parts, _environment(runs)]),
        records=markup.embedded_json([_summary(run) for run in runs]),
        script=script,
    )


def _section_names(sections: Sequence[Section]) -> dict[Section, str]:
    """What the page calls each: as little of its title as tells it from the others."""
    short = {section: section.title.split(", recipe ")[0] for section in sections}
    several = {name for name, count in Counter(short.values()).items() if count > 1}
    names: dict[Section, str] = {}
    for section, name in short.items():
        title, number = section.title, 2
        while title in names.values():
            title, number = f"{section.title} ({number})", number + 1
        names[section] = title if name in several else name
    return names


def _overview(runs: Sequence[Run], methods: Sequence[str], tables: Sequence[Table], *, predicted: bool) -> str:
    statuses = Counter(run.record.status for run in runs)
    need = sum(need for table in tables for _, need in _counts(table).values())
    others = [f"{count} {status}" for status, count in sorted(statuses.items()) if status != "finished"]
    others += [f"{need - len(runs)} not there"] * (need > len(runs))
    times = sorted(run.record.started for run in runs) + sorted(run.record.ended or "" for run in runs)[-1:]
    entries = {
        "Runs": f"{statuses['finished']} finished of {need}" + (f" ({', '.join(others)})" if others else ""),
        "Protocols": _listed(run.section.protocol for run in runs),
        "Datasets": _listed(run.dataset for run in runs),
        "Methods": f"{len(methods)}: {', '.join(methods)}",
        "Seeds": _listed(str(run.seed) for run in runs),
        "Backbones": _listed(f"{run.section.backbone} ({run.section.weights[:8]})" for run in runs),
        "When": " to ".join(time[:16].replace("T", " ") for time in (times[0], times[-1])) + " UTC",
    }
    missing = "There are no intervals and no paired tests: the predictions of some runs are not there."
    return markup.definitions(entries) + ("" if predicted else markup.paragraph(missing, "about"))


def _section(
    name: str,
    anchor: str,
    section: Section,
    runs: Sequence[Run],
    table: Table,
    comparisons: Sequence[Comparison],
    plots: Sequence[Plot],
    styles: Looks,
) -> str:
    sheet = table_sheet(table)
    parts = [
        f'<section id="{anchor}"><h2>{escape(name)}</h2>',
        markup.paragraph(f"{section.title}: {PROTOCOLS[section.protocol].about}.", "about"),
        "<h3>What was run</h3>",
        _completeness(runs, table),
        "<h3>Results</h3>",
        markup.rows_table(sheet, styles, label=f"Results: {name}"),
        markup.paragraph(" ".join(sheet.legend), "legend"),
    ]
    for comparison in comparisons:
        shown = comparison_sheet(comparison)
        content = markup.rows_table(shown, styles, label=f"Comparisons: {name}")
        content += markup.paragraph(" ".join(shown.legend), "legend")
        content += markup.notes([f"left out: {line}" for line in comparison.left_out])
        title = f"Paired comparisons with {comparison.against}"
        parts.append(markup.more(title, content, count=len(shown.lines)))
    parts += _other_metrics(runs, name, styles)
    for number, plot in enumerate(plots):
        title = f"{NAMES[plot.kind]} over {comparisons[0].against}" if plot.kind == "gain" else NAMES[plot.kind]
        parts.append(f"<h3>{escape(title)}</h3>{markup.plot_figures(plot, styles, f'{anchor}-{number}')}")
    parts += _classes(runs, table, styles)
    parts += ["<h3>How to do it again</h3>", markup.code(command(runs)), "</section>"]
    return "".join(parts)


def _counts(table: Table) -> dict[tuple[str, str], tuple[int, int]]:
    """Runs of each method on each dataset that are finished, and how many there are to be."""
    found = {}
    for row in table.rows:
        if row.dataset in table.datasets:
            values = {column.shots: value for column, value in row.values.items()}.values()
            found[row.method, row.dataset] = sum(value.have for value in values), sum(value.need for value in values)
    return found


def _completeness(runs: Sequence[Run], table: Table) -> str:
    """How many runs of each method and dataset are finished, and what else is to be known of the images."""
    rows, counts = [], _counts(table)
    for method in table.methods:
        line = [Text(method)]
        for dataset in table.datasets:
            have, need = counts.get((method, dataset), (0, 0))
            line.append(Text(f"{have}/{need}", have, lacking=have < need) if need else Text(MISSING))
        rows.append(line)
    lines = []
    for dataset in table.datasets:
        own_runs = [run for run in runs if run.dataset == dataset]
        first = own_runs[0].record
        tests = ", ".join(f"{test} {found.images}" for test, found in first.tests.items())
        shots = _listed(str(count) for count in sorted({run.shots for run in own_runs}))
        seeds = _listed(str(seed) for seed in sorted({run.seed for run in own_runs}))
        lines.append(
            f"{dataset}: {len(first.class_names)} classes are learned, shots: {shots}, seeds: {seeds}"
            + (f"; images of the tests: {tests}" if tests else f"; {first.split.test} test images")
            + (f"; pool {first.split.pool[:12]}" if first.split.pool else "")
        )
        short = {
            f"{name} ({count} of {run.shots})" for run in own_runs for name, count in run.record.split.short.items()
        }
        lines += [f"{dataset}: fewer training images than shots: {_listed(short)}"] * bool(short)
        skipped = max(len(run.record.split.skipped) for run in own_runs)
        lines += [f"{dataset}: {skipped} images could not be read and were left out"] * bool(skipped)
    finished = markup.plain_table(["finished runs of", *table.datasets], rows, label="What was run")
    return finished + markup.notes(lines)


def _other_metrics(runs: Sequence[Run], name: str, styles: Looks) -> list[str]:
    parts = []
    for metric, title in OTHER_METRICS.items():
        (table,) = make_tables(runs, metric=metric)
        if any(value.sample for row in table.rows for value in row.values.values()):
            sheet = table_sheet(table)
            content = markup.rows_table(sheet, styles, label=f"{title}: {name}")
            content += markup.paragraph(" ".join(sheet.legend), "legend")
            parts.append(markup.more(title, content, count=len(sheet.lines)))
    return parts


def _classes(runs: Sequence[Run], table: Table, styles: Looks) -> list[str]:
    """Accuracy of each class, a table for each dataset and a group for each test, with the most shots."""
    most = max(column.shots for column in table.columns)
    parts = []
    for dataset in table.datasets:
        own = [run for run in runs if (run.dataset, run.shots) == (dataset, most)]
        need = len({run.seed for run in own})
        of_method = {
            method: [run.record for run in finished_by_seed(run for run in own if run.method == method).values()]
            for method in table.methods
        }
        whole = {method: records for method, records in of_method.items() if len(records) == need}
        lines = []
        for test in dict.fromkeys(test for run in own for test in run.tests):
            found = {method: _class_means(records, test) for method, records in whole.items()}
            for name in dict.fromkeys(name for accuracies in found.values() for name in accuracies):
                accuracies = [_accuracy(found[method].get(name)) for method in whole]
                lines.append([Text(test if test != "test" else shots_title(most)), Text(name), *accuracies])
        if lines:
            sheet = Sheet(dataset, ["test", "class", *whole], lines, [], words=2)
            content = markup.rows_table(sheet, styles, label=f"Classes of {dataset}", kind="heat")
            parts.append(markup.more(dataset, content, count=len(lines)))
    about = "Accuracy in % of each class, mean over seeds, of methods whose seeds are all finished."
    return ["<h3>Classes</h3>", markup.paragraph(about, "about"), *parts] if parts else []


def _class_means(records: Sequence[RunRecord], test: str) -> dict[str, float]:
    """Of a test's classes; none where a record does not have them."""
    found = [record.metrics.get(test, {}).get("class_accuracy", {}) for record in records]
    return {name: float(np.mean([of_class[name] for of_class in found])) for name in found[0]} if all(found) else {}


def _accuracy(value: float | None) -> Text:
    return Text(MISSING) if value is None else Text(f"{value:.1f}", value)


def _environment(runs: Sequence[Run]) -> str:
    versions = Counter(", ".join(f"{name} {version}" for name, version in run.record.versions.items()) for run in runs)
    lines = [f"{count} runs with {names}" for names, count in versions.most_common()]
    seconds = sum(sum(run.record.timings.values()) for run in runs if run.record.prompts_from is None)
    lines.append(f"{seconds / 3600:.1f} hours of preparing, training and testing")
    peaks = [run.record.peak_memory_mb for run in runs if run.record.peak_memory_mb]
    lines += [f"at most {max(peaks):,.0f} MB of memory"] * bool(peaks)
    titles = ["table", "method", "dataset", "status", "started", "split", "result", "shots", "seed", "train s"]
    rows = []
    for run in runs:
        record = run.record
        words = [run.section.title, run.method, run.dataset, record.status, record.started[:16].replace("T", " ")]
        taken = record.training_seconds
        rows.append(
            [
                *map(Text, [*words, record.split.content[:12], record.result_hash[:12]]),
                Text(str(run.shots), run.shots),
                Text(str(run.seed), run.seed),
                Text(f"{taken:.1f}", taken) if run.finished else Text(MISSING),
            ]
        )
    sheet = Sheet("Runs", titles, rows, [], words=7)
    about = (
        "A run's result hash is over the backbone's weights, the method, the images, the optimizer, the seed and the "
        "protocol: runs that have the same one are the same experiment, wherever they were made."
    )
    table = markup.rows_table(sheet, looks(run.method for run in runs), label="Runs")
    return (
        '<section id="environment"><h2>Environment and runs</h2>'
        + markup.notes(lines)
        + markup.paragraph(about, "legend")
        + markup.more("All runs", table, count=len(rows))
        + '<p><button type="button" class="plain" id="save">Save the records as JSON</button></p></section>'
    )


def _summary(run: Run) -> dict[str, Any]:
    """What the page's JSON says of a run: all that its numbers are made of, but predictions and classes."""
    record = run.record
    metrics = {
        name: {key: value for key, value in values.items() if key != "class_accuracy"}
        if isinstance(values, dict)
        else values
        for name, values in record.metrics.items()
    }
    return {
        "protocol": run.section.protocol,
        "dataset": run.dataset,
        "method": run.method,
        "recipe": run.section.recipe,
        "shots": run.shots,
        "seed": run.seed,
        "status": record.status,
        "backbone": run.section.backbone,
        "weights": run.section.weights,
        "precision": run.section.precision,
        "split": record.split.content,
        "result": record.result_hash,
        "trainable_parameters": record.trainable_parameters,
        "metrics": metrics,
        "timings": record.timings,
        "peak_memory_mb": record.peak_memory_mb,
        "versions": record.versions,
    }


def _listed(texts: Iterable[str]) -> str:
    """Each once, in order; numbers by their size."""
    return ", ".join(
        sorted(set(texts), key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
    )


def _file(name: str) -> str:
    return (files("vlprompt.results") / "page" / name).read_text(encoding="utf-8")
