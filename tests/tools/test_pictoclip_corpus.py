import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from tools.pictoclip import captions, corpus, names, sources
from tools.pictoclip.captions import TEMPLATES, Mix, Vocabulary, every_text, sample_caption
from tools.pictoclip.corpus import Drawing
from tools.pictoclip.names import SUBGROUP_PHRASES, Concept, Concepts
from tools.pictoclip.sources import IconSet

APPLE = Concept("1F34E", "red apple", ("apple", "fruit"), "food-fruit")
HORSE = Concept("1F40E", "horse", ("animal",), "animal-mammal")
CONCEPTS = Concepts([APPLE, HORSE], {"apple": "1F34E", "horse": "1F34E", "racehorse": "1F40E"})
DRAWING = Drawing("noto", "noto", "red-apple", "red apple", "1F34E", True, True)
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
        (base / f"en/shortcodes/{source}.json").write_text('{"1F34E": ["apple", "horse"]}')
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
    built = corpus.build(packages, packages / "corpus", workers=1)
    shown = [(d.style, d.icon, d.name, d.code) for d in built.drawings]
    assert shown == [
        ("happy", "red-apple", "red apple", "1F34E"),
        ("happy", "horse", "horse", "1F40E"),
        ("plain", "apple-outline", "apple", "1F34E"),
    ]
    assert built.pictures.shape == (3, 72, 72, 4)
    loaded = corpus.load(packages, packages / "corpus")
    assert loaded.drawings == built.drawings
    assert np.array_equal(loaded.pictures, built.pictures)


def test_broken_and_blank_drawings_are_left_out() -> None:
    assert corpus.render("<svg") is None
    assert corpus.render('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"/>') is None


def test_a_wide_drawing_is_centered() -> None:
    wide = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path d="M0 0h20v10h-20z"/></svg>'
    picture = corpus.render(wide, 40)
    assert picture is not None
    rows = np.flatnonzero(picture[..., 3].any(1))
    assert (rows[0], rows[-1]) == (10, 29)


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


@given(seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_captions_say_what_the_drawing_shows(seed: int) -> None:
    caption = sample_caption(DRAWING, APPLE, Mix(), random.Random(seed))
    if caption.of_subgroup:
        assert any(phrase in caption.text for phrase in SUBGROUP_PHRASES["food-fruit"])
    else:
        assert "red apple" in caption.text
    assert caption == sample_caption(DRAWING, APPLE, Mix(), random.Random(seed))


def test_captions_are_of_every_sort() -> None:
    rng = random.Random(0)
    texts = [sample_caption(DRAWING, APPLE, Mix(), rng) for _ in range(2000)]
    share = sum(caption.of_subgroup for caption in texts) / len(texts)
    assert share == pytest.approx(Mix().subgroup, abs=0.03)
    said = {caption.text for caption in texts}
    assert {"red apple", "a photo of a red apple.", "a photo of a fruit.", "an icon of a red apple"} <= said
    assert any(text.endswith(", fruit, apple") for text in said)
    assert {"a sketch of a quince"} <= {sample_caption_of("quince", rng) for _ in range(500)}


def sample_caption_of(name: str, rng: random.Random) -> str:
    return sample_caption(Drawing("mdi", "mdi", name, name, "", False, False), None, Mix(), rng).text


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of_texts(every_text([DRAWING], CONCEPTS))


def test_no_caption_has_a_token_outside_the_vocabulary(vocabulary: Vocabulary) -> None:
    tokenizer, rng = SimpleTokenizer(), random.Random(0)
    texts = sorted({sample_caption(DRAWING, APPLE, Mix(), rng).text for _ in range(500)})
    tokens, ends = vocabulary.encode(texts)
    for text, row, end in zip(texts, tokens.tolist(), ends.tolist(), strict=True):
        wanted = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        assert [vocabulary.ids[token] for token in row[: end + 1]] == wanted


def test_tokens_are_cut_to_the_longest(vocabulary: Vocabulary) -> None:
    tokens, ends = vocabulary.encode(["apple", "a photo of a red apple."])
    assert tokens.shape == (2, 9)
    assert ends.tolist() == [2, 8]
    tokens, ends = vocabulary.encode(["apple " * 100])
    assert tokens.shape == (1, 77)
    assert ends.tolist() == [76]
    assert vocabulary.encode(["xylograph apple"])[0].shape[1] <= vocabulary.encode(["red apple"])[0].shape[1] + 2


def test_the_evaluation_template_is_trained_on() -> None:
    assert captions.EVALUATION_TEMPLATE in TEMPLATES
