"""Figures show the right data, and no text is cut off."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from tests.helpers.runs import Tuned, inspected
from vlprompt.analysis import figures
from vlprompt.analysis.confusions import Pair
from vlprompt.analysis.drawing import shortened
from vlprompt.analysis.figures import write_figures
from vlprompt.analysis.inspection import Inspection
from vlprompt.analysis.tuned_features import Both, Change, project
from vlprompt.results.style import SETTINGS

LONG = "a class whose name goes on and on until nobody reads it"
DRAWN = {
    "dapt": {"dispersion", "embedding", "confusions", "attention", "norms"},
    "mudpt": {"dispersion", "embedding", "confusions", "attention", "norms"},
    "coop, class-specific": {"dispersion", "embedding", "confusions", "attention", "norms"},
    "zero-shot": {"dispersion", "embedding", "confusions"},
}


def named(found: Inspection) -> Inspection:
    """Inspection with long class names, one of which looks like a formula, and a confused pair."""
    names = (LONG, "$x_1$", *found.classes.names[2:])
    pair = Pair(names[0], names[1], 12345, 12000, 7, Change(0.5, 0.25))
    return replace(found, classes=replace(found.classes, names=names), pairs=[pair, replace(pair, before=0)])


@pytest.mark.parametrize("kind", DRAWN)
def test_figures_are_not_cut_off(kind: str, tuned: Tuned) -> None:
    found = named(inspected(tuned, kind))
    drawn = set()
    for draw in (figures.dispersion, figures.embedding, figures.confusions, figures.attention, figures.norms):
        with matplotlib.rc_context(SETTINGS):
            figure = draw(found)
            if figure is None:
                continue
            FigureCanvasAgg(figure)
            figure.draw_without_rendering()
            box = figure.get_tightbbox()
        drawn.add(draw.__name__)
        width, height = figure.get_size_inches()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"{draw.__name__}: {box}"
    assert drawn == DRAWN[kind]


def test_files(tuned: Tuned, tmp_path: Path) -> None:
    found = inspected(tuned, "dapt")
    paths = write_figures(found, tmp_path / "out")
    assert {name: path.name for name, path in paths.items()} == {name: f"{name}.png" for name in DRAWN["dapt"]}
    for path in paths.values():
        image = np.asarray(Image.open(path).convert("RGB"))
        assert image.shape[1] >= 900  # pixels, for printing at 200 dpi
        assert image[0, 0].min() > 250  # light
        assert (image < 128).any()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths.values())


def test_missing_glyphs_are_reported_once(
    tuned: Tuned, tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    found = inspected(tuned, "zero-shot")
    names = ("火山", "火", "mañana", *found.classes.names[3:])
    write_figures(replace(found, classes=replace(found.classes, names=names), pairs=[]), tmp_path)
    assert [line for line in caplog.messages if "font" in line] == [
        "the font of the figures lacks 山火, so class names with them show boxes"
    ]
    assert not recwarn.list


def test_projection_is_shared_by_both_sides(tuned: Tuned) -> None:
    found = inspected(tuned, "dapt")
    assert found.images is not None
    assert found.classes.after is not None
    shown = project(found.classes, found.images)
    features = [*vars(found.images.features).values(), found.classes.before, found.classes.after]
    every = np.concatenate([part.double().numpy() for part in features])
    points = np.concatenate([*vars(shown.images).values(), *vars(shown.classes).values()])
    centered = every - every.mean(0)
    variances = np.linalg.svd(centered, compute_uv=False) ** 2
    assert np.square(points).sum(0) == pytest.approx(variances[:2], rel=1e-6)
    assert shown.explained == pytest.approx(tuple(variances[:2] / variances.sum()))
    axes = np.linalg.lstsq(centered, points, rcond=None)[0]
    assert centered @ axes == pytest.approx(points, abs=1e-8)


def test_unchanged_features_are_drawn_once_and_labeled(tuned: Tuned) -> None:
    figure = figures.dispersion(inspected(tuned, "coop"))
    assert figure is not None
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert [len(lines) for lines in said] == [2, 1, 1]
    assert said[1][0].endswith("\nunchanged")


def test_bars_match_the_counts(tuned: Tuned) -> None:
    found = named(inspected(tuned, "dapt"))
    figure = figures.confusions(found)
    assert figure is not None
    assert sorted(bar.get_width() for bar in figure.axes[0].patches) == [0, 7, 12345, 12345]
    alone = figures.confusions(replace(found, pairs=[replace(pair, before=None) for pair in found.pairs]))
    assert alone is not None
    assert [bar.get_width() for bar in alone.axes[0].patches] == [12345, 12345]
    assert figures.confusions(replace(found, pairs=[])) is None


def test_long_names_are_shortened() -> None:
    assert shortened("cat") == "cat"
    assert len(shortened(LONG)) <= 27
    assert shortened("x" * 40).endswith("…")


def test_both_maps() -> None:
    assert Both(1, 2).map(lambda number: number + 1) == Both(2, 3)
