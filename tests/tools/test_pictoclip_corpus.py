import json
from pathlib import Path

import numpy as np
import pytest
from tools.pictoclip import corpus, names, sources
from tools.pictoclip.corpus import Corpus, Drawing
from tools.pictoclip.names import Concept, Concepts
from tools.pictoclip.sources import IconSet

APPLE = Concept("1F34E", "red apple", ("apple", "fruit"), "food-fruit")
HORSE = Concept("1F40E", "horse", ("animal",), "animal-mammal")
CONCEPTS = Concepts([APPLE, HORSE], {"apple": "1F34E", "horse": "1F34E", "racehorse": "1F40E"})
SQUARE = '<path d="M2 2h12v12h-12z"/>'


def fake_package(folder: Path, license: str, icons: dict[str, str], chars: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "1.0.0", "license": "MIT"}')
    info = {"author": {"name": "An artist"}, "license": {"spdx": license}, "palette": True}
    (folder / "info.json").write_text(json.dumps(info))
    bodies = {name: {"body": body} for name, body in icons.items()}
    (folder / "icons.json").write_text(json.dumps({"icons": bodies, "width": 16, "height": 16}))
    (folder / "chars.json").write_text(json.dumps(chars))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sets = (IconSet("happy", True), IconSet("shared"), IconSet("plain", skip="-thin$"))
    monkeypatch.setattr(sources, "ICON_SETS", sets)
    emoji = {"red-apple": SQUARE, "red-apple-dark": SQUARE, "horse": SQUARE, "letter-q": SQUARE, "nothing": ""}
    fake_package(tmp_path / "happy", "MIT", emoji, {"1f34e": "red-apple"})
    fake_package(tmp_path / "shared", "CC-BY-SA-4.0", {"apple": SQUARE}, {})
    general = {"apple-thin": SQUARE, "apple-outline": SQUARE, "grid-view": SQUARE, "letter-apple": SQUARE}
    fake_package(tmp_path / "plain", "Apache-2.0", general, {})
    base = tmp_path / "emojibase-data"
    (base / "en/shortcodes").mkdir(parents=True)
    (base / "meta").mkdir()
    (base / "package.json").write_text('{"version": "17.0.0", "license": "MIT"}')
    (base / "meta/groups.json").write_text('{"subgroups": {"3": "food-fruit", "4": "animal-mammal"}}')
    entries = [
        {"hexcode": "1F34E", "label": "red apple", "tags": ["fruit"], "subgroup": 3},
        {"hexcode": "1F40E-FE0F", "label": "horse", "subgroup": 4},
        {"hexcode": "1F9E9", "label": "puzzle piece"},
    ]
    (base / "en/data.json").write_text(json.dumps(entries))
    for source in ("emojibase", "github", "iamcal"):
        (base / f"en/shortcodes/{source}.json").write_text('{"1F34E": ["apple", "horse", "+1"]}')
    return tmp_path


def test_share_alike_sets_stay_out(packages: Path) -> None:
    table = sources.fetch(packages)
    assert {row["package"]: row["used"] for row in table} == {
        "@iconify-json/happy": True,
        "@iconify-json/shared": False,
        "@iconify-json/plain": True,
        "emojibase-data": True,
    }
    assert json.loads((packages / "licenses.json").read_text()) == table
    assert [icon_set.name for icon_set in sources.used_sets(packages)] == ["happy", "plain"]


def test_no_listed_set_is_one_that_the_benchmark_draws_from() -> None:
    assert not {s.name for s in sources.ICON_SETS if s.name.startswith(("openmoji", "fa"))}
    assert all("SA" not in license and "NC" not in license for license in sources.ALLOWED_LICENSES)


def test_corpus_keeps_each_thing_once_and_knows_what_it_shows(packages: Path) -> None:
    sources.fetch(packages)
    built = corpus.build(packages, packages / "corpus.zip", workers=1)
    shown = [(d.style, d.icon, d.name, d.code) for d in built.drawings]
    assert shown == [
        ("happy", "red-apple", "red apple", "1F34E"),
        ("happy", "horse", "horse", "1F40E"),
        ("plain", "apple-outline", "apple", "1F34E"),
    ]
    assert built.pictures.shape == (3, 72, 72, 4)
    assert corpus.load(packages / "corpus.zip").drawings == built.drawings


def test_a_packed_corpus_keeps_what_is_seen(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 4), dtype=np.uint8)
    pictures = random[:, :1, :1].repeat(8, 1).repeat(8, 2)
    pictures[..., 3] = random[..., 3] | 128
    drawings = [Drawing("noto", "noto", f"{i}", f"thing {i}", "1F34E", True, color=i < 270) for i in range(300)]
    concepts = Concepts([APPLE, Concept("1", "one", ("digit", "first"), "keycap", ("uno",))], {})
    corpus.pack(Corpus(pictures, drawings, concepts), tmp_path / "corpus.zip")
    loaded = corpus.load(tmp_path / "corpus.zip")
    assert loaded.drawings == drawings
    assert loaded.concepts.by_code == concepts.by_code
    assert np.array_equal(loaded.pictures[..., 3], pictures[..., 3])
    assert np.abs(loaded.pictures[:270].astype(int) - pictures[:270]).mean() < 8, "color is packed with loss"
    assert not loaded.pictures[270:, ..., :3].any()


def test_broken_and_blank_drawings_are_left_out() -> None:
    assert corpus.render("<svg") is None
    assert corpus.render('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"/>') is None


def test_a_wide_drawing_is_centered() -> None:
    wide = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path d="M0 0h20v10h-20z"/></svg>'
    picture = corpus.render(wide, 40)
    assert picture is not None
    rows = np.flatnonzero(picture[..., 3].any(1))
    assert (rows[0], rows[-1]) == (10, 29)


def test_other_names_of_a_concept_are_words(packages: Path) -> None:
    concepts = Concepts.load(packages).by_code
    assert concepts["1F34E"].synonyms == ("apple", "horse")
    assert concepts["1F40E"].synonyms == ()


def test_names() -> None:
    assert CONCEPTS.code_of("Red_Apple") == CONCEPTS.code_of("apple") == "1F34E"
    assert CONCEPTS.code_of("horse") == "1F40E", "a name goes before a nickname"
    assert CONCEPTS.code_of("quince") == ""
    assert CONCEPTS.code_of("redapple") == "1F34E", "some sets write names without spaces"
    flags = Concepts([Concept("1F1F5-1F1EA", "flag: Peru", (), "country-flag")], {})
    assert flags.code_of("flag for flag peru") == flags.code_of("flag for peru") == "1F1F5-1F1EA"
    assert names.plain("Woman’s boot") == "womans boot"
    assert names.plain_code("2764-fe0f-200d-1f525") == "2764-200D-1F525"
    assert names.icon_words("apple 2 outline") == "apple"
    assert names.icon_words("brand apple") == names.icon_words("a") == ""
    assert names.shows_a_thing("horse head", CONCEPTS)
    assert not names.shows_a_thing("grid view", CONCEPTS)
    assert names.is_skin_tone("hand-dark", {"hand": 0})
    assert names.is_skin_tone("elf-tone3", {"elf": 0})
    assert not names.is_skin_tone("moon-dark", {})
