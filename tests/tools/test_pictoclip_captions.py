import random

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer
from tools.pictoclip import captions
from tools.pictoclip.captions import VECTOR, VECTOR_ROW, Forms, Vocabulary, every_text
from tools.pictoclip.data import Job, TrainingSet
from tools.pictoclip.names import SUBGROUP_PHRASES
from tools.pictoclip.scenes import COLOR_NAMES, MAIN, Ground, Kind, Mix, Scenes, Style

PLAIN = Forms(subgroup=0, with_subgroup=0, with_tags=0, words=0, vectors=0, behind=0, damaged=0)


@pytest.fixture(scope="module")
def scenes(data: TrainingSet) -> Scenes:
    return data.plan(Job((3, 1), 400, (0.25, 0.25))).scenes


def said(data: TrainingSet, scenes: Scenes, forms: Forms, seed: int = 0) -> list[captions.Caption]:
    rng = random.Random(seed)
    return [data.speaker.caption(scenes, row, forms, rng) for row in range(len(scenes))]


def test_captions_name_what_is_seen(data: TrainingSet, scenes: Scenes) -> None:
    for row, caption in enumerate(said(data, scenes, Forms())):
        drawing = data.corpus.drawings[scenes.drawings[row, MAIN]]
        concept = data.corpus.concepts.by_code.get(drawing.code)
        if caption.of_subgroup:
            assert concept and any(phrase in caption.text for phrase in SUBGROUP_PHRASES[concept.subgroup])
        else:
            assert drawing.name in caption.text


def test_captions_are_of_thousands_of_forms(data: TrainingSet) -> None:
    scenes = data.plan(Job((5, 1), 1000, (0.0, 0.0))).scenes
    forms = set()
    for row, caption in enumerate(said(data, scenes, Forms(words=0, vectors=0, behind=0))):
        name = data.corpus.drawings[scenes.drawings[row, MAIN]].name
        forms.add(caption.text.replace(name, "{}"))
    assert len(forms) > 700


def test_shares_of_forms_are_kept(data: TrainingSet, scenes: Scenes) -> None:
    everything = [caption.text for seed in range(5) for caption in said(data, scenes, Forms(), seed)]
    with_vectors = sum(text.startswith(VECTOR) for text in everything) / len(everything)
    assert with_vectors == pytest.approx(Forms().vectors, abs=0.03)
    assert all(text.count(VECTOR) <= 16 for text in everything)
    templates = [caption.text for caption in said(data, scenes, Forms(template=1, bare=0, words=0, vectors=0))]
    assert any(text.startswith("a photo of a thing") for text in templates)
    assert all(VECTOR not in caption.text for caption in said(data, scenes, Forms(vectors=0)))


@pytest.mark.parametrize("ground", list(Ground))
def test_backgrounds_are_said_as_they_are(scenes: Scenes, ground: Ground) -> None:
    rng, found = random.Random(0), 0
    for row in np.flatnonzero(scenes.grounds == ground):
        text = captions._background(scenes, row, rng)
        colors = {name for name in COLOR_NAMES if f" {name}" in f" {text}"}
        true = {COLOR_NAMES[color] for color in scenes.ground_colors[row]}
        assert all(any(color in name for name in true) for color in colors), (text, true)
        found += bool(colors)
    assert found


def test_company_is_named(data: TrainingSet, scenes: Scenes) -> None:
    rng = random.Random(0)
    for kind in (Kind.BESIDE, Kind.CLUTTER, Kind.HIDDEN):
        rows = np.flatnonzero(scenes.kinds == kind)
        texts = [text for row in rows for text in data.speaker._company(scenes, row, rng)]
        assert any("thing" in text or "widget" in text for text in texts)
    assert not list(data.speaker._company(scenes, np.flatnonzero(scenes.kinds == Kind.PLAIN)[0], rng))


def test_styles_places_turns_and_numbers() -> None:
    rng = random.Random(0)
    assert "top" in captions._place(0, -0.6, rng)
    assert {"bottom", "left"} <= set(captions._place(-0.6, 0.6, rng).split())
    assert captions._turn(0.1, rng) == ""
    assert captions._turn(3.0, rng) == "upside down"
    assert captions._plural("box") == "boxes"
    assert captions._plural("cherry") == "cherries"
    assert captions._plural("monkey") == "monkeys"
    assert captions._with_article("apple", random.Random(1)).split()[0] in {"an", *captions._ARTICLES}
    assert set(captions._STYLE_CHOICES) == set(Style)


def test_damage_spares_the_name() -> None:
    rng = random.Random(0)
    damaged = {captions._damaged("a photo of a red apple on white", "red apple", rng) for _ in range(100)}
    assert all("red apple" in text for text in damaged)
    assert len(damaged) > 20


def test_no_caption_has_a_token_outside_the_vocabulary(data: TrainingSet, scenes: Scenes) -> None:
    tokenizer, vocabulary = SimpleTokenizer(), data.vocabulary
    texts = [caption.text for caption in said(data, scenes, Forms(vectors=0))]
    tokens, ends = vocabulary.encode(texts)
    for text, row, end in zip(texts, tokens.tolist(), ends.tolist(), strict=True):
        wanted = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        assert [vocabulary.ids[token] for token in row[: end + 1]] == wanted, text


def test_tokens_are_cut_at_their_beginning(data: TrainingSet) -> None:
    vocabulary = Vocabulary.of_texts(["apple red a photo of a ."])
    tokens, ends = vocabulary.encode(["apple", "a photo of a red apple."])
    assert tokens.shape == (2, 9)
    assert ends.tolist() == [2, 8]
    tokens, ends = vocabulary.encode(["apple " * 100 + "red"], length=20)
    assert tokens.shape == (1, 20)
    assert tokens[0, -2] == vocabulary.encode(["red"])[0][0, 1]
    assert vocabulary.encode(["xylograph apple"])[0].shape[1] <= vocabulary.encode(["red apple"])[0].shape[1]


def test_vectors_have_a_row_of_their_own(data: TrainingSet) -> None:
    tokens, _ = data.vocabulary.encode([f"{VECTOR} {VECTOR} thing"])
    assert tokens[0, 1:3].tolist() == [VECTOR_ROW, VECTOR_ROW]
    assert (tokens[0, 3:] >= 0).all()


def test_the_vocabulary_knows_the_speakers_words(data: TrainingSet) -> None:
    rows = data.vocabulary.encode(data.speaker.words)[0]
    assert rows.shape[1] > 2 and "fruit" in data.speaker.words
    assert {"photo", "background"} <= {word for text in every_text([], data.corpus.concepts) for word in text.split()}


def test_a_mix_without_scenes_is_plain(data: TrainingSet) -> None:
    plan = data.plan(Job((3, 1), 50, (0.25, 0.25), Mix(kinds=(1.0, 0, 0, 0, 0, 0))))
    assert (plan.scenes.kinds == Kind.PLAIN).all()
