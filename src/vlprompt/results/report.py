"""Self-contained HTML report of runs, without external files or network access."""

import base64
import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import BackboneConfig, DataConfig
from vlprompt.results import markup
from vlprompt.results.cells import MISSING, TextCell, TextTable, as_text
from vlprompt.results.collect import Conditions, Run
from vlprompt.results.comparisons import Comparison, compare
from vlprompt.results.plots import Plot, make_plots
from vlprompt.results.quantities import have_predictions
from vlprompt.results.rendering import page_palette
from vlprompt.results.style import Styles, method_styles
from vlprompt.results.tables import Table, by_conditions, finished_by_seed, make_tables, method_order, shots_title
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
    """Return the report as HTML.

    Args:
        runs: Runs from `find_runs`.
        baseline: Method that the others are compared with; None for zero-shot, if there are runs of it.

    Returns:
        The whole page.

    Raises:
        VLPromptError: The baseline has no runs, predictions cannot be read, or runs have different test images.

    Examples:
        >>> page = make_report(find_runs([Path("results")])[0], baseline="coop")  # doctest: +SKIP
    """
    methods = sorted({run.method for run in runs}, key=method_order)
    predicted = have_predictions(runs)
    tables = make_tables(runs, intervals=predicted)
    against = baseline or ("zero-shot" if "zero-shot" in methods and len(methods) > 1 else None)
    comparisons: list[Comparison] = []
    if against is not None and predicted:
        comparisons = compare(runs, [against, *(method for method in methods if method != against)])
    plots, styles = make_plots(tables, comparisons), method_styles(methods)
    groups = by_conditions(runs)
    names = _section_names(list(groups))
    parts = [
        _section(
            names[conditions],
            f"part-{number}",
            conditions,
            own,
            next(table for table in tables if table.conditions == conditions),
            [comparison for comparison in comparisons if comparison.conditions == conditions],
            [plot for plot in plots if plot.conditions == conditions],
            styles,
        )
        for number, (conditions, own) in enumerate(groups.items())
    ]
    entries = [(f"part-{number}", names[conditions]) for number, conditions in enumerate(groups)]
    entries.append(("environment", "Environment and runs"))
    links = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in entries)
    light, dark = page_palette()
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


def _section_names(every: Sequence[Conditions]) -> dict[Conditions, str]:
    """Return the shortest unique heading for each section of the page."""
    short = {conditions: conditions.title.split(", recipe ")[0] for conditions in every}
    several = {name for name, count in Counter(short.values()).items() if count > 1}
    names: dict[Conditions, str] = {}
    for conditions, name in short.items():
        title, number = conditions.title, 2
        while title in names.values():
            title, number = f"{conditions.title} ({number})", number + 1
        names[conditions] = title if name in several else name
    return names


def _overview(runs: Sequence[Run], methods: Sequence[str], tables: Sequence[Table], *, predicted: bool) -> str:
    statuses = Counter(run.record.status for run in runs)
    need = sum(need for table in tables for _, need in _counts(table).values())
    others = [f"{count} {status}" for status, count in sorted(statuses.items()) if status != "finished"]
    others += [f"{need - len(runs)} missing"] * (need > len(runs))
    times = sorted(run.record.started for run in runs) + sorted(run.record.ended or "" for run in runs)[-1:]
    entries = {
        "Runs": f"{statuses['finished']} finished of {need}" + (f" ({', '.join(others)})" if others else ""),
        "Protocols": _listed(run.conditions.protocol for run in runs),
        "Datasets": _listed(run.dataset for run in runs),
        "Methods": f"{len(methods)}: {', '.join(methods)}",
        "Seeds": _listed(str(run.seed) for run in runs),
        "Backbones": _listed(f"{run.conditions.backbone} ({run.conditions.weights[:8]})" for run in runs),
        "When": " to ".join(time[:16].replace("T", " ") for time in (times[0], times[-1])) + " UTC",
    }
    missing = "No intervals and no paired tests: some runs have no predictions."
    return markup.definitions(entries) + ("" if predicted else markup.paragraph(missing, "about"))


def _section(
    name: str,
    anchor: str,
    conditions: Conditions,
    runs: Sequence[Run],
    table: Table,
    comparisons: Sequence[Comparison],
    plots: Sequence[Plot],
    styles: Styles,
) -> str:
    results = as_text(table)
    parts = [
        f'<section id="{anchor}"><h2>{escape(name)}</h2>',
        markup.paragraph(f"{conditions.title}: {PROTOCOLS[conditions.protocol].about}.", "about"),
        "<h3>Runs</h3>",
        _completeness(runs, table),
        "<h3>Results</h3>",
        markup.rows_table(results, styles, label=f"Results: {name}"),
        markup.paragraph(" ".join(results.legend), "legend"),
    ]
    for comparison in comparisons:
        shown = as_text(comparison)
        content = markup.rows_table(shown, styles, label=f"Comparisons: {name}")
        content += markup.paragraph(" ".join(shown.legend), "legend")
        content += markup.notes([f"left out: {line}" for line in comparison.left_out])
        title = f"Paired comparisons with {comparison.against}"
        parts.append(markup.more(title, content, count=len(shown.rows)))
    parts += _other_metrics(runs, name, styles)
    for number, plot in enumerate(plots):
        title = f"{NAMES[plot.kind]} over {comparisons[0].against}" if plot.kind == "gain" else NAMES[plot.kind]
        parts.append(f"<h3>{escape(title)}</h3>{markup.plot_figures(plot, styles, f'{anchor}-{number}')}")
    parts += _classes(runs, table, styles)
    parts += ["<h3>Reproduce</h3>", markup.code(command(runs)), "</section>"]
    return "".join(parts)


def _counts(table: Table) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the number of finished and of expected runs, by method and dataset."""
    found = {}
    for row in table.rows:
        if row.dataset in table.datasets:
            values = {column.shots: value for column, value in row.values.items()}.values()
            found[row.method, row.dataset] = sum(value.have for value in values), sum(value.need for value in values)
    return found


def _completeness(runs: Sequence[Run], table: Table) -> str:
    """Return a table of finished runs by method and dataset, with notes on the images."""
    rows, counts = [], _counts(table)
    for method in table.methods:
        row = [TextCell(method)]
        for dataset in table.datasets:
            have, need = counts.get((method, dataset), (0, 0))
            row.append(TextCell(f"{have}/{need}", have, lacking=have < need) if need else TextCell(MISSING))
        rows.append(row)
    lines = []
    for dataset in table.datasets:
        own_runs = [run for run in runs if run.dataset == dataset]
        first = own_runs[0].record
        tests = ", ".join(f"{test} {found.images}" for test, found in first.tests.items())
        shots = _listed(str(count) for count in sorted({run.shots for run in own_runs}))
        seeds = _listed(str(seed) for seed in sorted({run.seed for run in own_runs}))
        lines.append(
            f"{dataset}: {len(first.class_names)} training classes; shots: {shots}; seeds: {seeds}"
            + (f"; test images: {tests}" if tests else f"; {first.split.test} test images")
            + (f"; pool {first.split.pool[:12]}" if first.split.pool else "")
        )
        short = {
            f"{name} ({count} of {run.shots})" for run in own_runs for name, count in run.record.split.short.items()
        }
        lines += [f"{dataset}: classes with fewer training images than shots: {_listed(short)}"] * bool(short)
        skipped = max(len(run.record.split.skipped) for run in own_runs)
        lines += [f"{dataset}: {skipped} unreadable images were left out"] * bool(skipped)
    finished = markup.plain_table(["finished runs", *table.datasets], rows, label="Runs")
    return finished + markup.notes(lines)


def _other_metrics(runs: Sequence[Run], name: str, styles: Styles) -> list[str]:
    parts = []
    for metric, title in OTHER_METRICS.items():
        (table,) = make_tables(runs, metric=metric)
        if any(value.sample for row in table.rows for value in row.values.values()):
            shown = as_text(table)
            content = markup.rows_table(shown, styles, label=f"{title}: {name}")
            content += markup.paragraph(" ".join(shown.legend), "legend")
            parts.append(markup.more(title, content, count=len(shown.rows)))
    return parts


def _classes(runs: Sequence[Run], table: Table, styles: Styles) -> list[str]:
    """Return tables of per-class accuracy at the largest number of shots, one per dataset, grouped by test."""
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
        rows = []
        for test in dict.fromkeys(test for run in own for test in run.tests):
            found = {method: _class_means(records, test) for method, records in whole.items()}
            for name in dict.fromkeys(name for accuracies in found.values() for name in accuracies):
                accuracies = [_accuracy(found[method].get(name)) for method in whole]
                label = test if test != "test" else shots_title(most)
                rows.append([TextCell(label), TextCell(name), *accuracies])
        if rows:
            shown = TextTable(dataset, ["test", "class", *whole], rows, [], words=2)
            content = markup.rows_table(shown, styles, label=f"Classes of {dataset}", kind="heat")
            parts.append(markup.more(dataset, content, count=len(rows)))
    about = "Accuracy in % of each class, averaged over seeds, for methods with all seeds finished."
    return ["<h3>Classes</h3>", markup.paragraph(about, "about"), *parts] if parts else []


def _class_means(records: Sequence[RunRecord], test: str) -> dict[str, float]:
    """Return the mean accuracy of each class that all records have."""
    found = [record.metrics.get(test, {}).get("class_accuracy", {}) for record in records]
    names = [name for name in found[0] if all(name in of_class for of_class in found)]
    return {name: float(np.mean([of_class[name] for of_class in found])) for name in names}


def _accuracy(value: float | None) -> TextCell:
    return TextCell(MISSING) if value is None else TextCell(f"{value:.1f}", value)


def _environment(runs: Sequence[Run]) -> str:
    versions = Counter(", ".join(f"{name} {version}" for name, version in run.record.versions.items()) for run in runs)
    lines = [f"{count} runs with {names}" for names, count in versions.most_common()]
    seconds = sum(sum(run.record.timings.values()) for run in runs if run.record.prompts_from is None)
    lines.append(f"{seconds / 3600:.1f} hours of preparation, training and testing")
    peaks = [run.record.peak_memory_mb for run in runs if run.record.peak_memory_mb]
    lines += [f"at most {max(peaks):,.0f} MB of memory"] * bool(peaks)
    columns = ["table", "method", "dataset", "status", "started", "split", "result", "shots", "seed", "train s"]
    rows = []
    for run in runs:
        record = run.record
        words = [run.conditions.title, run.method, run.dataset, record.status, record.started[:16].replace("T", " ")]
        taken = record.training_seconds
        rows.append(
            [
                *map(TextCell, [*words, record.split.content[:12], record.result_hash[:12]]),
                TextCell(str(run.shots), run.shots),
                TextCell(str(run.seed), run.seed),
                TextCell(f"{taken:.1f}", taken) if run.finished else TextCell(MISSING),
            ]
        )
    shown = TextTable("Runs", columns, rows, [], words=7)
    about = (
        "The result hash covers the backbone's weights, the method, the images, the optimizer, the seed and the "
        "protocol. Runs with the same hash are the same experiment."
    )
    table = markup.rows_table(shown, method_styles(run.method for run in runs), label="Runs")
    return (
        '<section id="environment"><h2>Environment and runs</h2>'
        + markup.notes(lines)
        + markup.paragraph(about, "legend")
        + markup.more("All runs", table, count=len(rows))
        + '<p><button type="button" class="plain" id="save">Save the records as JSON</button></p></section>'
    )


def command(runs: Sequence[Run]) -> str:
    """Return the `vlprompt run` commands that reproduce runs with the same conditions, one option per line.

    Runs with different name maps or split seeds need separate commands. Absolute paths are reduced to their last part.
    """
    together: dict[tuple[str | None, int], list[Run]] = {}
    for run in runs:
        data = run.record.config.data
        together.setdefault((data.name_map, data.split_seed), []).append(run)
    return "\n\n".join(_command(group) for group in together.values())


def _command(runs: Sequence[Run]) -> str:
    conditions, configs = runs[0].conditions, [run.record.config for run in runs]
    recipe, *changes = re.split(r", (?=\w+\.\w+=)", conditions.recipe)
    options = {
        "--methods": ",".join(sorted({run.method for run in runs}, key=method_order)),
        "--datasets": ",".join(sorted({_public(config.data.source) for config in configs})),
        "--targets": ",".join(dict.fromkeys(_public(target) for config in configs for target in config.data.targets)),
        "--shots": ",".join(map(str, sorted({run.shots for run in runs}))),
        "--seeds": ",".join(map(str, sorted({run.seed for run in runs}))),
        "--recipe": recipe
        if configs[0].recipe
        else "",  # older records have no recipe, and list every option as a setting
        "--backbone": _public(configs[0].backbone.source),
    }
    settings = list(changes)
    if conditions.precision != BackboneConfig.model_fields["precision"].default:
        settings.append(f"backbone.precision={conditions.precision}")
    if configs[0].data.name_map is not None:
        settings.append(f"data.name_map={_public(configs[0].data.name_map)}")
    split_seed = configs[0].data.split_seed
    if split_seed != DataConfig.model_fields["split_seed"].default:
        settings.append(f"data.split_seed={split_seed}")
    words = [f"{option} {shlex.quote(value)}" for option, value in options.items() if value]
    words += [f"--set {shlex.quote(setting)}" for setting in settings]
    return " \\\n    ".join([f"vlprompt run {conditions.protocol}", *words, "--out runs"])


def _public(source: str) -> str:
    return Path(source).name if Path(source).expanduser().is_absolute() else source


def _summary(run: Run) -> dict[str, Any]:
    """Return a run's entry in the page's JSON, without predictions and per-class accuracy."""
    record = run.record
    metrics = {
        name: {key: value for key, value in values.items() if key != "class_accuracy"}
        if isinstance(values, dict)
        else values
        for name, values in record.metrics.items()
    }
    return {
        "protocol": run.conditions.protocol,
        "dataset": run.dataset,
        "method": run.method,
        "recipe": run.conditions.recipe,
        "shots": run.shots,
        "seed": run.seed,
        "status": record.status,
        "backbone": run.conditions.backbone,
        "weights": run.conditions.weights,
        "precision": run.conditions.precision,
        "split": record.split.content,
        "result": record.result_hash,
        "trainable_parameters": record.trainable_parameters,
        "metrics": metrics,
        "timings": record.timings,
        "peak_memory_mb": record.peak_memory_mb,
        "versions": record.versions,
    }


def _listed(texts: Iterable[str]) -> str:
    """Return the distinct texts in order, with numbers sorted by value."""
    return ", ".join(
        sorted(set(texts), key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
    )


def _file(name: str) -> str:
    return (files("vlprompt.results") / "page" / name).read_text(encoding="utf-8")
