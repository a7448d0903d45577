"""Captions of scenes in free forms, and their tokens.

A caption names the main thing and may say more that is known of the image: style, color, background, size, place,
turn, number, what else is there. Words are dropped and exchanged, and random words or random vectors put in front, so
that the name is read behind any context, as prompt learning needs it.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from open_clip.tokenizer import SimpleTokenizer
from tools.pictoclip.corpus import Drawing
from tools.pictoclip.names import SUBGROUP_PHRASES, Concept, Concepts, plain
from tools.pictoclip.scenes import COLOR_NAMES, MAIN, Array, Ground, Kind, Scenes, Style

CONTEXT_LENGTH = 77
EVALUATION_TEMPLATE = "a photo of a {}."
# Stands for one random vector in a caption, and is the row of tokens that says so.
VECTOR, VECTOR_ROW = "\x00", -1

_STYLE_MEDIA = {
    Style.DRAWN: "drawing|cartoon|emoji|sticker|color drawing|colorful picture|clip art|illustration|color icon",
    Style.GRAY: "gray picture|grayscale image|black and white photo|gray drawing|pencil drawing",
    Style.LINE: "line drawing|sketch|outline|line art|ink drawing|line icon|contour|pen drawing|coloring page",
    Style.GLYPH: "silhouette|glyph|solid icon|pictogram|stencil|shadow|black icon|stamp|logo",
    Style.TINT: "tinted picture|monochrome picture|one color print|duotone|colored drawing|tinted drawing",
    Style.SHUFFLED: "oddly colored drawing|recolored picture|drawing in wrong colors|painting|pop art picture",
    Style.INK: "pictogram|symbol|icon|glyph|simple icon|interface icon|black and white icon|sign|flat icon",
}
_MEDIA = (
    "photo|photo|photo|picture|image|drawing|icon|illustration|sketch|cartoon|symbol|pictogram|painting|view|scene|"
    "snapshot|rendering|graphic|print|depiction|figure|emoji|sticker|sign|poster|photograph|shot|artwork|design"
)
_MEDIA_ADJECTIVES = (
    "good|bad|nice|simple|clean|beautiful|strange|funny|typical|plain|new|old|cool|small|big|detailed|cute|modern|"
    "classic|random|hand drawn|digital|free|popular|common|rough|neat|pretty|favorite|quick|real|low resolution"
)
_OPENINGS = (
    "there is {}|this is {}|here is {}|you can see {}|i see {}|it shows {}|the image shows {}|the picture contains {}|"
    "look at {}|it depicts {}|we see {}|that is {}|the photo shows {}|it is {}|it contains {}|someone drew {}|"
    "what you see is {}|an example of {}|the view of {}|one can find {}|showing {}|featuring {}|containing {}|"
    "a scene with {}|an image with {}|a picture with {}|a photo with {}|a drawing with {}|a view with {}"
)
_ARTICLES = ("a", "a", "a", "a", "the", "the", "one", "my", "some", "this", "your", "our", "another", "any", "that")
_NEXT_TO = "and {}|next to {}|beside {}|with {}|near {}|together with {}|close to {}|along with {}|by {}|and also {}"
_AMONG = (
    "among other things|in a crowded scene|with clutter around|in a busy scene|surrounded by things|"
    "between other things|in front of other things|with {} behind|in front of {}|before {}"
)
_COVERED = "partly hidden|half covered|behind {}|hidden by {}|covered by {}|partly hidden by {}|with {} in front"
_ON_COLOR = (
    "on a {} background|on {}|against {}|in front of a {} wall|on a {} surface|with a {} background|on {} paper|"
    "over {}|background: {}"
)
_ON_PATTERN = {
    Ground.GRADIENT: "on a gradient background|on a gradient from {} to {}|fading from {} to {}",
    Ground.STRIPES: "on a striped background|on stripes|with {} and {} stripes|on {} and {} stripes|on a striped wall",
    Ground.CHECKS: "on a checkered background|on a checkerboard|on {} and {} squares|on {} and {} tiles|on a grid",
    Ground.DOTS: "on a dotted background|on dots|with {} and {} dots|on a spotted background|on polka dots",
    Ground.CLOUDS: "on a cloudy background|on a textured background|on a blurred {} and {} background|on {} and {}|"
    "on a messy background|outdoors|on a natural background",
}
_SMALL, _LARGE = "small|little|tiny|small", "big|large|huge|close up of the|giant"
_TILTED, _SIDEWAYS, _UPSIDE_DOWN = "tilted|turned|rotated|slanted|leaning", "sideways|lying|on its side", "upside down"
_NUMBERS = {2: "two|two|a pair of|a couple of|2|several|many", 3: "three|three|3|several|many|a group of|a few"}
_HOW = ("blurry|blurred|unclear|out of focus", "noisy|grainy", "dark", "bright")
_KIND_OF = (", a kind of ", ", a type of ", ", ", " is a ", " or another ", ", some ")
_FUNCTION_WORDS = (
    "a the of in on at and or with for to from by is it this that one my your our some very really just also not no "
    "what when where who how if then here there now always never often today i you he she we they me him us them "
    "was were be been are am do does did have has had can could will would should may might must go goes went gone "
    "see saw seen look looks make makes made take takes took want like love need find found show shows shown know "
    "think say says said come came get got give gave keep let put use used work works call try ask feel become leave "
    "up down out over under again after before between about into through during without against along across "
    "good bad new old great high long own other same different few many much more most less least first last next "
    "early young important public able beautiful happy easy hard strong free full clear sure fast slow rich poor "
    "time year day week month hour minute thing way world life hand part place case group company number name home "
    "night morning evening area story fact lot right left study word business issue side kind head service friend "
    "father mother power end member law city team idea body information back parent face others level office door "
    "health art war history party result change reason research moment teacher education garden kitchen street river "
    "market village station school winter summer spring autumn holiday weather lesson table paper window music color"
).split()
_UNRELATED = (
    "{w} and {w}|{w} or {w}|the {w} of the {w}|on {w} we went to the {w}|i like {w}|{w} {w} {w}|no {w} today|"
    "my {w} is {w}|buy {w} now|about {w} and {w}|{w} for sale|a story of {w}|do not {w}|page 3 of {w}|{w} by {w}"
)


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_MEDIUM_CHOICES, _ADJECTIVE_CHOICES, _OPENING_CHOICES = map(_split, (_MEDIA, _MEDIA_ADJECTIVES, _OPENINGS))
_STYLE_CHOICES = {style: _split(text) for style, text in _STYLE_MEDIA.items()}
_PATTERN_CHOICES = {ground: _split(text) for ground, text in _ON_PATTERN.items()}
_NEXT_CHOICES, _AMONG_CHOICES, _COVERED_CHOICES, _COLOR_CHOICES = map(_split, (_NEXT_TO, _AMONG, _COVERED, _ON_COLOR))
_SMALL_CHOICES, _LARGE_CHOICES, _TILTED_CHOICES, _SIDE_CHOICES = map(_split, (_SMALL, _LARGE, _TILTED, _SIDEWAYS))
_NUMBER_CHOICES = {count: _split(text) for count, text in _NUMBERS.items()}
_HOW_CHOICES = tuple(map(_split, _HOW))
_UNRELATED_CHOICES = _split(_UNRELATED)


@dataclass(frozen=True, slots=True)
class Forms:
    """Shares of the forms of captions.

    `subgroup`: the subgroup's phrase instead of the name; `with_subgroup`, `with_tags`: the name and those; `bare`: the
    name alone; `template`: exactly the evaluation's; `facts`: probability of each known fact to be said.
    `words`, `vectors`: random words or vectors in front; `behind`: words behind; `damaged`: words dropped or exchanged.
    """

    subgroup: float = 0.08
    with_subgroup: float = 0.10
    with_tags: float = 0.10
    bare: float = 0.12
    template: float = 0.08
    facts: float = 0.25
    words: float = 0.42
    vectors: float = 0.16
    behind: float = 0.06
    damaged: float = 0.10


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption. `of_subgroup`: it names only the subgroup, so it matches every drawing in that.

    `spread` is the standard deviation of its random vectors.
    """

    text: str
    of_subgroup: bool = False
    spread: float = 0.0


class Speaker:
    """Describes scenes of `drawings`, whose dominant `colors` (N,) are rows of the palette, or -1."""

    def __init__(self, drawings: Sequence[Drawing], concepts: Concepts, colors: Sequence[int]) -> None:
        self._concepts = [concepts.by_code.get(drawing.code) for drawing in drawings]
        self._names = [_names(drawing, concepts.by_code.get(drawing.code)) for drawing in drawings]
        self._colors = [int(color) for color in colors]
        self.words = sorted({word for text in every_text(drawings, concepts) for word in plain(text).split()})

    def caption(self, scenes: Scenes, row: int, forms: Forms, rng: random.Random, longest: int = 16) -> Caption:
        """Describe one scene, with at most `longest` random words or vectors in front."""
        main = int(scenes.drawings[row, MAIN])
        concept = self._concepts[main]
        name = self._name(main, rng)
        phrases = SUBGROUP_PHRASES.get(concept.subgroup) if concept else None
        share, of_subgroup = rng.random(), False
        if phrases and share < forms.subgroup:
            name, of_subgroup = rng.choice(phrases), True
        elif phrases and share < forms.subgroup + forms.with_subgroup:
            name += rng.choice(_KIND_OF) + rng.choice(phrases)
        form = rng.random()
        if form < forms.bare:
            text = name
        elif form < forms.bare + forms.template:
            text = EVALUATION_TEMPLATE.format(name)
        else:
            text = self._sentence(scenes, row, name, forms.facts, rng)
        if concept and concept.tags and not of_subgroup and share > 1 - forms.with_tags:
            tags = rng.sample(concept.tags, min(len(concept.tags), rng.randint(1, 3)))
            text = ", ".join([text.removesuffix("."), *tags])
        if rng.random() < forms.damaged:
            text = _damaged(text, name, rng)
        if rng.random() < 0.35:
            text = text.rstrip(" .,") + ("" if text.endswith(".") else ".")
        if rng.random() < forms.behind:
            text += " " + " ".join(self._random_words(rng, rng.randint(1, 4)))
        spread, context = 0.0, rng.random()
        if context < forms.words:
            text = f"{self._context(rng, longest)} {text}"
        elif context < forms.words + forms.vectors:
            spread = rng.choice((0.0, 0.01, 0.02, 0.02, 0.02, 0.03, 0.05, 0.1))
            text = f"{' '.join([VECTOR] * rng.choice((longest, rng.randint(1, longest))))} {text}"
        return Caption(text, of_subgroup, spread)

    def _name(self, drawing: int, rng: random.Random) -> str:
        names = self._names[drawing]
        return names[0] if len(names) == 1 or rng.random() < 0.6 else rng.choice(names)

    def _random_words(self, rng: random.Random, count: int) -> list[str]:
        return [rng.choice(self.words if rng.random() < 0.75 else _FUNCTION_WORDS) for _ in range(count)]

    def _context(self, rng: random.Random, longest: int) -> str:
        """Return words that have nothing to do with the image: loose ones, or as a sentence."""
        if rng.random() < 0.2:
            pattern = rng.choice(_UNRELATED_CHOICES)
            words = iter(self._random_words(rng, pattern.count("{w}")))
            return re.sub("{w}", lambda _: next(words), pattern) + rng.choice((".", ",", ":", ""))
        return " ".join(self._random_words(rng, rng.choice((rng.randint(1, 6), rng.randint(1, longest)))))

    def _sentence(self, scenes: Scenes, row: int, name: str, probability: float, rng: random.Random) -> str:
        """Say the name in one of many sentences, with some of what is known of the image."""

        def said() -> bool:
            return rng.random() < probability

        x, y, size, _, angle, *_ = scenes.poses[row, MAIN].tolist()
        style, copies = Style(int(scenes.styles[row, MAIN])), int(scenes.copies[row])
        adjectives = (
            [rng.choice(_SMALL_CHOICES if size < 0.5 else _LARGE_CHOICES)] if abs(size - 0.7) > 0.2 and said() else []
        )
        color = self._color(scenes, row, style)
        if color and said():
            adjectives.append(color)
        turn = _turn(angle, rng)
        tail = [turn] if turn and said() else []
        if (abs(x) > 0.25 or abs(y) > 0.25 or size < 0.6) and said():
            tail.append(_place(x, y, rng))
        tail += [
            text for text in self._company(scenes, row, rng) if rng.random() < max(probability, 0.4 * (probability > 0))
        ]
        if said():
            tail.append(_background(scenes, row, rng))
        if copies > 1 and rng.random() < 0.7:
            noun = " ".join([rng.choice(_NUMBER_CHOICES[copies]), *adjectives, _plural(name)])
        else:
            noun = _with_article(" ".join([*adjectives, name]), rng)

        form = rng.random()
        if form < 0.12:
            parts = [name, *adjectives, *tail]
            if rng.random() < 0.4:
                parts.append(rng.choice(_STYLE_CHOICES[style]))
            rng.shuffle(parts)
            return ", ".join(parts)
        rng.shuffle(tail)
        end = f" {' '.join(tail)}" if tail else ""
        if form < 0.22:
            return noun + end
        if form < 0.40:
            return rng.choice(_OPENING_CHOICES).format(noun) + end
        medium = rng.choice(_STYLE_CHOICES[style] if said() else _MEDIUM_CHOICES)
        how = _how(scenes.finish[row].tolist(), rng) if said() else ""
        if not how and rng.random() < 0.2:
            how = rng.choice(_ADJECTIVE_CHOICES)
        medium = f"{how} {medium}" if how else medium
        if form < 0.86:
            return f"{_with_article(medium, rng)} of {noun}{end}"
        if form < 0.93:
            return f"{noun}{end}, {medium}"
        return f"{' '.join([*adjectives, name])} {medium}{end}"

    def _color(self, scenes: Scenes, row: int, style: Style) -> str:
        if style in (Style.GLYPH, Style.TINT, Style.INK, Style.LINE):
            return COLOR_NAMES[scenes.inks[row, MAIN]]
        color = self._colors[scenes.drawings[row, MAIN]]
        return COLOR_NAMES[color] if style == Style.DRAWN and color >= 0 else ""

    def _company(self, scenes: Scenes, row: int, rng: random.Random) -> Iterator[str]:
        """Yield phrases on what else is in the image."""
        kind = scenes.kinds[row]
        behind, near, _, front = scenes.drawings[row].tolist()
        if kind == Kind.BESIDE:
            for thing in (front, near):
                if thing >= 0:
                    yield rng.choice(_NEXT_CHOICES).format(_with_article(self._name(thing, rng), rng))
        elif kind == Kind.CLUTTER:
            thing = near if near >= 0 else behind
            yield rng.choice(_AMONG_CHOICES).format(_with_article(self._name(thing, rng), rng))
        elif kind == Kind.HIDDEN:
            yield rng.choice(_COVERED_CHOICES).format(_with_article(self._name(front, rng), rng))


def every_text(drawings: Sequence[Drawing], concepts: Concepts) -> Iterator[str]:
    """Yield texts that together contain every word of all captions."""
    for drawing in drawings:
        names = _names(drawing, concepts.by_code.get(drawing.code))
        yield from (*names, *map(_plural, names))
    for concept in concepts.by_code.values():
        yield from (concept.label, *concept.synonyms, *concept.tags)
    for phrases in SUBGROUP_PHRASES.values():
        yield from (*phrases, *map(_plural, phrases))
    tables = (*_STYLE_MEDIA.values(), *_ON_PATTERN.values(), *_NUMBERS.values(), *_HOW)
    forms = (_MEDIA, _MEDIA_ADJECTIVES, _OPENINGS, _NEXT_TO, _AMONG, _COVERED, _ON_COLOR, _UNRELATED)
    for text in (*tables, *forms, _SMALL, _LARGE, _TILTED, _SIDEWAYS, _UPSIDE_DOWN):
        yield re.sub(r"{w?}", "", text.replace("|", " "))
    yield " ".join((*_ARTICLES, *_FUNCTION_WORDS, *COLOR_NAMES, *_KIND_OF))
    yield "an in at on the top bottom left right center centered middle corner side of . , :"


def _names(drawing: Drawing, concept: Concept | None) -> tuple[str, ...]:
    """Return the names of a drawing, the usual one first."""
    if concept is None:
        return (drawing.name,)
    return tuple(dict.fromkeys((concept.label.lower(), *concept.synonyms, drawing.name)))


def _with_article(noun: str, rng: random.Random) -> str:
    article = rng.choice(_ARTICLES)
    return f"an {noun}" if article == "a" and noun[0] in "aeiou" else f"{article} {noun}"


def _plural(name: str) -> str:
    if name.endswith("s"):
        return name
    if name.endswith(("x", "ch", "sh")):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("y") and name[-2:-1] not in "aeiou" else name + "s"


def _turn(angle: float, rng: random.Random) -> str:
    turned = abs(angle)
    if turned < 0.35:
        return ""
    if turned > 2.5:
        return _UPSIDE_DOWN
    return rng.choice(_TILTED_CHOICES if turned < 1.2 else _SIDE_CHOICES)


def _place(x: float, y: float, rng: random.Random) -> str:
    across = "left" if x < -0.25 else "right" if x > 0.25 else ""
    along = "top" if y < -0.25 else "bottom" if y > 0.25 else ""
    if across and along:
        return rng.choice((f"in the {along} {across} corner", f"at the {along} {across}", f"{along} {across}"))
    if across or along:
        side = across or along
        return rng.choice((f"on the {side}", f"at the {side}", f"on the {side} side", side))
    return rng.choice(("in the middle", "in the center", "centered in the middle"))


def _background(scenes: Scenes, row: int, rng: random.Random) -> str:
    first, second = (COLOR_NAMES[color] for color in scenes.ground_colors[row].tolist())
    ground = Ground(int(scenes.grounds[row]))
    if ground == Ground.FLAT:
        return rng.choice(_COLOR_CHOICES).format(first)
    return rng.choice(_PATTERN_CHOICES[ground]).format(first, second)


def _how(finish: Sequence[float], rng: random.Random) -> str:
    blur, noise, contrast, brightness = finish
    true = (blur > 0, noise > 0.05, brightness - (1 - contrast) < -0.15, brightness > 0.06)
    said = [choices for choices, holds in zip(_HOW_CHOICES, true, strict=True) if holds]
    return rng.choice(rng.choice(said)) if said else ""


def _damaged(text: str, name: str, rng: random.Random) -> str:
    """Drop or exchange words around the name."""
    before, found, after = text.partition(name)
    sides = []
    for side in (before, after):
        words = [word for word in side.split() if rng.random() > 0.3]
        if len(words) > 1 and rng.random() < 0.5:
            i = rng.randrange(len(words) - 1)
            words[i], words[i + 1] = words[i + 1], words[i]
        sides.append(" ".join(words))
    return " ".join(part for part in (sides[0], found, sides[1]) if part)


class Vocabulary:
    """The subset of CLIP's tokens that captions use, renumbered from 0.

    `ids` (n_used,) are their positions in the 49,408-token vocabulary, ascending. Other tokens are dropped.
    """

    def __init__(self, ids: Iterable[int], words: Mapping[str, Sequence[int]]) -> None:
        self.ids = sorted(ids)
        self._row = {token: row for row, token in enumerate(self.ids)}
        self._tokenizer = SimpleTokenizer()
        self._known = {word: [self._row[token] for token in tokens] for word, tokens in words.items()}
        self._known[VECTOR] = [VECTOR_ROW]

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> "Vocabulary":
        tokenizer = SimpleTokenizer()
        words = {word for text in texts for word in text.split()}
        words |= {part for word in words for part in plain(word).split()} | set(".,:")
        words |= {word + mark for word in words for mark in ".,:" if not word[-1].isalnum()}
        known = {word: tokenizer.encode(word) for word in words}
        used = {token for tokens in known.values() for token in tokens}
        return cls([*used, tokenizer.sot_token_id, tokenizer.eot_token_id], known)

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, texts: Sequence[str], length: int = CONTEXT_LENGTH) -> tuple[Array, Array]:
        """Return rows (B, L), padded to the longest text, with start and end tokens, and the end positions (B,).

        Texts that do not fit into `length` lose their beginning, since the name is closer to the end. `VECTOR` becomes
        `VECTOR_ROW`.
        """
        rows = [self._encode(text, length) for text in texts]
        ends = np.array([len(row) - 1 for row in rows])
        tokens = np.zeros((len(rows), int(ends.max()) + 1), np.int64)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
        return tokens, ends

    def _encode(self, text: str, length: int) -> list[int]:
        tokens: list[int] = []
        for word in text.split(" "):
            tokens += self._known.get(word) or self._learned(word)
        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        return [self._row[start], *tokens[-(length - 2) :], self._row[end]]

    def _learned(self, word: str) -> list[int]:
        """Tokenize a new word; one of letters before a punctuation mark is tokenized as both, which is far faster."""
        stem, mark = word[:-1], word[-1:]
        if stem in self._known and mark in self._known and stem[-1].isalnum() and not mark.isalnum():
            known = self._known[stem] + self._known[mark]
        else:
            known = [self._row[token] for token in self._tokenizer.encode(word) if token in self._row]
        self._known[word] = known
        return known
