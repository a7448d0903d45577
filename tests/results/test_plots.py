"""Plots show the right data, leave out missing data, and are legible."""

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.helpers.grids import HOSTILE, METHODS
from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.panels import WIDTH, Point, draw_base_new
from vlprompt.results.plots import Panel, Plot, make_plots
from vlprompt.results.rendering import PAGE_COLORS, draw, inline_svg, write_plots
from vlprompt.results.style import COLORS, SETTINGS, marker_outline, method_styles
from vlprompt.results.tables import make_tables

STYLES = method_styles(METHODS)


@pytest.fixture(scope="module")
def plots(grid: Path) -> dict[tuple[str, str], Plot]:
    runs, _ = find_runs([grid])
    made = make_plots(make_tables(runs), compare(runs, list(METHODS)))
    return {(plot.conditions.protocol, plot.kind): plot for plot in made}


def drawn(panel: Panel) -> Figure:
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, panel.height), layout="constrained")
        FigureCanvasAgg(figure)
        panel.draw(figure.subplots(), styles=STYLES)
        figure.draw_without_rendering()
    return figure


def lines(panel: Panel, method: str) -> list[np.ndarray]:
    """Return the y coordinates of all lines of a method."""
    name = f"method-{STYLES[method].number}"
    return [np.asarray(line.get_ydata()) for line in drawn(panel).axes[0].lines if line.get_gid() == name]


def test_every_kind_of_plot_is_made(plots: dict[tuple[str, str], Plot]) -> None:
    assert list(plots) == [
        ("base-to-new", "base-new"),
        ("base-to-new", "gain"),
        ("base-to-new", "time"),
        ("cross-dataset", "gain"),
        ("cross-dataset", "time"),
        ("few-shot", "shots"),
        ("few-shot", "gain"),
        ("few-shot", "time"),
    ]
    shots = plots["few-shot", "shots"]
    assert [panel.title for panel in shots.panels] == ["average", "fontawesome", "openmoji"]
    assert [panel.title for panel in plots["cross-dataset", "gain"].panels] == [
        f"openmoji: {test}" for test in ("source", "digits", "signs", "target average")
    ]


def test_unfinished_cells_are_gaps_and_listed(plots: dict[tuple[str, str], Plot]) -> None:
    plot = plots["few-shot", "shots"]
    average, fontawesome, openmoji = plot.panels
    assert plot.left_out == ["maple on openmoji, 4 shots (1/2 seeds)"]
    assert [np.isnan(lines(panel, "maple")[0]).tolist() for panel in (average, fontawesome, openmoji)] == [
        [False, True],
        [False, False],
        [False, True],
    ]
    assert "maple" not in plots["few-shot", "time"].panels[-1].methods
    assert plots["few-shot", "gain"].left_out == ["maple on openmoji (1/2 seeds)"]


def test_means_are_drawn_at_their_coordinates(plots: dict[tuple[str, str], Plot]) -> None:
    openmoji = plots["few-shot", "shots"].panels[2]
    assert lines(openmoji, "coop")[0] == pytest.approx([100 * 19 / 40, 100 * 22 / 40])
    assert lines(openmoji, "zero-shot")[0] == pytest.approx([100 * 14 / 40] * 2)
    gains = drawn(plots["base-to-new", "gain"].panels[1]).axes[0].patches
    assert [bar.get_width() for bar in gains] == pytest.approx([10, -5, 15, -7.5, 12.5, -5])
    time = plots["base-to-new", "time"].panels[1]
    assert time.methods == tuple(METHODS)
    x = [line.get_xdata()[0] for line in drawn(time).axes[0].lines if line.get_gid() == "method-2"]
    assert x[-1] == pytest.approx(30)


def test_curves_have_the_labeled_harmonic_mean(plots: dict[tuple[str, str], Plot]) -> None:
    axes = drawn(plots["base-to-new", "base-new"].panels[0]).axes[0]
    curves = [line for line in axes.lines if line.get_gid() is None]
    means = [2 * x * y / (x + y) for x, y in (np.asarray(line.get_data()) for line in curves)]
    assert len(means) >= 2
    assert all(np.ptp(mean) < 1e-9 for mean in means)
    named = {text.get_text() for text in axes.texts}
    assert named <= {f"H {round(float(mean[0]), 6):g}" for mean in means}
    assert named


@pytest.mark.parametrize("corner", [(0.0, 0.0), (100.0, 100.0), (0.5, 99.5), (50.0, 50.0)])
def test_extreme_accuracies_can_be_drawn(corner: tuple[float, float]) -> None:
    axes = Figure().subplots()
    draw_base_new(axes, {"coop": (Point(corner[0], 0.0), Point(corner[1], 0.0))}, STYLES)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left <= corner[0] <= right and bottom <= corner[1] <= top
    assert right - left >= 2 and top - bottom >= 2


def test_coincident_points_are_all_visible() -> None:
    axes = Figure().subplots()
    one, other = Point(60.0, 1.0), Point(70.0, 1.0)
    draw_base_new(
        axes, {"coop": (one, one), "dapt": (one, one), "maple": (other, one), "zero-shot": (one, one)}, STYLES
    )
    sizes = {line.get_gid(): line.get_markersize() for line in axes.lines if line.get_marker() not in ("None", None)}
    coop, dapt, maple, zero_shot = (
        sizes[f"method-{STYLES[name].number}"] for name in ("coop", "dapt", "maple", "zero-shot")
    )
    assert coop > dapt + 3 > zero_shot + 6
    assert maple < 10


def test_texts_do_not_overlap(plots: dict[tuple[str, str], Plot]) -> None:
    for panel in (panel for plot in plots.values() for panel in plot.panels):
        figure = drawn(panel)
        (axes,) = figure.axes
        texts = [axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            texts += [tick.label1 for tick in axis.get_major_ticks() if min(ends) <= tick.get_loc() <= max(ends)]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
        for (one, box), (other, second) in itertools.combinations(boxes, 2):
            assert not box.overlaps(second), f"{one!r} and {other!r} in {panel.title}"
        assert all(figure.bbox.contains(*corner) for _, box in boxes for corner in (box.min + 1, box.max - 1))


def test_method_styles_are_consistent_and_unique() -> None:
    many = [f"method-{number:02}" for number in range(60)]
    found = method_styles([*many, "zero-shot"])
    assert found == method_styles(reversed([*many, "zero-shot"]))
    assert len({(look.color, look.marker) for look in found.values()}) == 61
    lines_of_color = {(look.color, str(look.line)) for look in list(found.values())[:19]}
    assert len(lines_of_color) == 19, "up to eighteen methods differ in color and line alone"


def luminance(color: str) -> float:
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(("place", "paper"), [(0, "#ffffff"), (1, "#15181c")])
def test_colors_contrast_with_the_background(place: int, paper: str) -> None:
    assert paper in (Path(__file__).parents[2] / "src/vlprompt/results/page/page.css").read_text().replace(
        "#fff;", "#ffffff;"
    )
    for pair in COLORS:
        bright, dark = sorted((luminance(pair[place]), luminance(paper)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3


def test_markers_as_paths() -> None:
    assert marker_outline("s").startswith("M-0.5") and marker_outline("s").endswith("Z")
    for look in STYLES.values():
        assert set(marker_outline(look.marker)) <= set("MLQCZ0123456789.,- ")


def test_inline_svg_uses_page_colors_and_unique_ids(plots: dict[tuple[str, str], Plot]) -> None:
    panel = plots["base-to-new", "base-new"].panels[0]
    text = inline_svg(panel, STYLES, "one", 'say "so" <b>')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'say "so" <b>'
    assert {element.tag for element in root.iter()} <= set("svg defs g path use text clipPath rect".split())
    assert "http" not in text and "font-family" not in text and "<style" not in text
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    used = {element.get("href", "#")[1:] for element in root.iter("use")}
    assert used and used <= ids
    assert not [color for color in PAGE_COLORS if color in text], "every color is one that follows light and dark"
    assert {f"method-{look.number}" for look in STYLES.values()} <= {element.get("class") for element in root.iter()}
    assert text == inline_svg(panel, STYLES, "one", 'say "so" <b>')
    other = ElementTree.fromstring(inline_svg(panel, STYLES, "two", ""))
    assert not ids & {element.get("id") for element in other.iter()}


@pytest.mark.parametrize(("format_", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(format_: str, start: bytes, tmp_path: Path) -> None:
    for method, right in (("zero-shot", 5), ("coop", 9)):
        write_run(tmp_path / "runs" / method, method, dataset="a $b$ & <c>", test=right)
    runs, _ = find_runs([tmp_path / "runs"])
    made = write_plots(runs, tmp_path / "plots", format_)
    assert [path.name for path, _ in made] == [f"few-shot-unified-{kind}.{format_}" for kind in ("gain", "time")]
    assert all(path.read_bytes().startswith(start) for path, _ in made)
    again = write_plots(runs, tmp_path / "again", format_)
    assert [path.read_bytes() for path, _ in made] == [path.read_bytes() for path, _ in again]
    if format_ == "svg":
        assert "a $b$ &amp; &lt;c&gt;" in made[0][0].read_text()


def test_no_text_is_cut_off(tmp_path: Path) -> None:
    changes = ["optim.epochs=1", "data.crop_scale=[0.5,0.9]", "data.views=3", "optim.weight_decay=0.5"]
    for seed in (1, 2):
        for method, right in (("zero-shot", 5), ("coop", 9), ("dapt", 8)):
            own = ["method.n_text=7", "method.n_visual=9", "method.beta_text=0.5"] * (method == "dapt")
            folder = tmp_path / f"{method}{seed}"
            write_run(folder, method, protocol="base-to-new", seed=seed, settings=changes + own, base=right, new=right)
    runs, _ = find_runs([tmp_path])
    made = make_plots(make_tables(runs), compare(runs, ["zero-shot", "coop"]))
    for plot in made:
        with matplotlib.rc_context(SETTINGS):
            figure = draw(plot, method_styles({run.method for run in runs}))
            FigureCanvasAgg(figure)
            figure.draw_without_rendering()
        texts = [*figure.texts, *(axes.title for axes in figure.axes)]
        for legend in figure.legends:
            texts += [legend.get_title(), *legend.get_texts()]
        for box in (text.get_window_extent() for text in texts):
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width, (plot.kind, texts)


def test_file_names_are_unique_across_conditions(tmp_path: Path) -> None:
    for number, weights in enumerate(("one", "other")):
        for recipe in ("unified", "paper"):
            write_run(tmp_path / f"{recipe}{number}", recipe=recipe, weights=weights, test=10)
    made = write_plots(find_runs([tmp_path])[0], tmp_path / "plots", "svg")
    assert len({path for path, _ in made}) == 4


def test_nothing_to_plot_raises(tmp_path: Path) -> None:
    write_run(tmp_path / "a", status="interrupted", test=10)
    with pytest.raises(VLPromptError, match="nothing to plot"):
        write_plots(find_runs([tmp_path])[0], tmp_path / "plots", "png")


def test_records_without_predictions_have_no_gains(tmp_path: Path) -> None:
    for method, right in (("zero-shot", 5), ("coop", 9)):
        write_run(tmp_path / method, method, test=right)
    (tmp_path / "coop" / "predictions.parquet").unlink()
    made = write_plots(find_runs([tmp_path])[0], tmp_path / "plots", "svg")
    assert [path.name for path, _ in made] == ["few-shot-unified-time.svg"]


def test_names_are_escaped_in_output(tmp_path: Path) -> None:
    for method, right in (("zero-shot", 5), ("coop", 9)):
        write_run(tmp_path / method, method, dataset=HOSTILE.replace("/", ""), test=right)
    runs, _ = find_runs([tmp_path])
    plots = make_plots(make_tables(runs), compare(runs, ["zero-shot", "coop"]))
    for plot in plots:
        text = inline_svg(plot.panels[0], STYLES, "x", plot.panels[0].title)
        assert "<script" not in text
