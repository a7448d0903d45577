"""Names of drawings: Unicode concepts with their labels, tags and subgroups (emojibase-data), and icon names."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.pictoclip.sources import NAMES_PACKAGE, folder_of

# Phrases for each Unicode subgroup in captions; evaluation uses the first. The shipped model was trained on them.
SUBGROUP_PHRASES: Mapping[str, tuple[str, ...]] = {
    "face-smiling": ("smiling face", "happy face"),
    "face-affection": ("loving face",),
    "face-tongue": ("face with tongue",),
    "face-hand": ("face with hand",),
    "face-neutral-skeptical": ("neutral or skeptical face", "neutral face"),
    "face-sleepy": ("sleepy face", "tired face"),
    "face-unwell": ("sick face",),
    "face-hat": ("face with hat",),
    "face-glasses": ("face with glasses",),
    "face-concerned": ("sad or worried face", "sad face", "worried face"),
    "face-negative": ("angry face",),
    "face-costume": ("costume face", "creature face"),
    "cat-face": ("cat face",),
    "monkey-face": ("monkey face",),
    "heart": ("heart",),
    "emotion": ("emotion symbol",),
    "hand-fingers-open": ("open hand",),
    "hand-fingers-partial": ("hand gesture",),
    "hand-single-finger": ("pointing finger",),
    "hand-fingers-closed": ("fist",),
    "hands": ("pair of hands",),
    "hand-prop": ("hand holding something",),
    "body-parts": ("body part",),
    "person": ("person",),
    "person-gesture": ("person making a gesture",),
    "person-role": ("person with a job", "worker"),
    "person-fantasy": ("fantasy character",),
    "person-activity": ("person doing an activity",),
    "person-sport": ("person doing sport", "athlete"),
    "person-resting": ("person resting",),
    "family": ("family",),
    "person-symbol": ("person silhouette",),
    "animal-mammal": ("mammal",),
    "animal-bird": ("bird",),
    "animal-amphibian": ("amphibian",),
    "animal-reptile": ("reptile",),
    "animal-marine": ("sea animal", "fish or sea animal"),
    "animal-bug": ("insect or bug", "insect", "bug"),
    "plant-flower": ("flower",),
    "plant-other": ("plant",),
    "food-fruit": ("fruit",),
    "food-vegetable": ("vegetable",),
    "food-prepared": ("prepared food", "meal"),
    "food-asian": ("asian food",),
    "food-marine": ("seafood",),
    "food-sweet": ("sweet dessert", "dessert", "sweets"),
    "drink": ("drink", "beverage"),
    "dishware": ("dishware", "kitchenware"),
    "place-map": ("map",),
    "place-geographic": ("landscape",),
    "place-building": ("building",),
    "place-religious": ("religious building",),
    "place-other": ("place",),
    "transport-ground": ("ground vehicle", "vehicle"),
    "transport-water": ("boat", "ship"),
    "transport-air": ("aircraft",),
    "hotel": ("hotel item",),
    "time": ("clock",),
    "sky-weather": ("sky and weather", "weather"),
    "event": ("celebration",),
    "award-medal": ("medal or award", "award"),
    "sport": ("sport equipment", "sports equipment"),
    "game": ("game", "toy"),
    "arts-crafts": ("arts and crafts",),
    "clothing": ("clothing", "piece of clothing"),
    "sound": ("sound",),
    "music": ("music",),
    "musical-instrument": ("musical instrument",),
    "phone": ("phone",),
    "computer": ("computer", "computer equipment"),
    "light-video": ("light and video",),
    "book-paper": ("book or paper",),
    "money": ("money",),
    "mail": ("mail",),
    "writing": ("writing tool",),
    "office": ("office supply",),
    "lock": ("lock and key",),
    "tool": ("tool",),
    "science": ("science equipment",),
    "medical": ("medical item",),
    "household": ("household item",),
    "other-object": ("object",),
    "transport-sign": ("transport sign",),
    "warning": ("warning sign",),
    "arrow": ("arrow",),
    "religion": ("religious symbol",),
    "zodiac": ("zodiac sign",),
    "av-symbol": ("media control button",),
    "gender": ("gender symbol",),
    "math": ("math symbol",),
    "punctuation": ("punctuation mark",),
    "currency": ("currency symbol",),
    "other-symbol": ("symbol",),
    "keycap": ("keycap",),
    "alphanum": ("letter button",),
    "geometric": ("geometric shape",),
    "flag": ("flag",),
    "country-flag": ("country flag",),
    "subdivision-flag": ("regional flag",),
}

_SHORTCODES = ("emojibase", "github", "iamcal")
_TONE = re.compile("-(dark|light|medium|medium-light|medium-dark|tone[1-5])$|skin-tone")
_STYLE_WORDS = frozenset(
    "outline outlined rounded sharp fill filled solid remix line duotone bold linear broken thin light regular"
    " twotone baseline round alt fat 24px".split()
)
_FLAG_FOR = re.compile("^(flag for |flag )+")
_NOT_A_THING = re.compile(r"\b(brand|logo|alpha|letter|number|numeric)\b")
# Words of emoji names that also describe interface elements, so they do not show that an icon depicts a thing.
_INTERFACE_WORDS = frozenset(
    "button person man woman with and of the off on in flag face mark sign right left up down arrow circle square"
    " input".split()
)


@dataclass(frozen=True, slots=True)
class Concept:
    """One Unicode emoji: its code points without variation selectors, name, tags, subgroup and other names."""

    code: str
    label: str
    tags: tuple[str, ...]
    subgroup: str
    synonyms: tuple[str, ...] = ()


class Concepts:
    """All Unicode emoji, indexed by code point and by name."""

    def __init__(self, concepts: list[Concept], shortcodes: Mapping[str, str]) -> None:
        self.by_code = {concept.code: concept for concept in concepts}
        self._by_name = {name: code for name, code in shortcodes.items() if code in self.by_code}
        self._by_name |= {plain(concept.label): concept.code for concept in concepts}
        self._by_letters = {name.replace(" ", ""): code for name, code in self._by_name.items()}
        self.words = {word for c in concepts for word in plain(c.label).split()} - _INTERFACE_WORDS

    @classmethod
    def load(cls, packages: Path) -> "Concepts":
        folder = folder_of(packages, NAMES_PACKAGE)
        subgroups = json.loads((folder / "meta/groups.json").read_text())["subgroups"]
        shortcodes: dict[str, str] = {}
        synonyms: dict[str, dict[str, None]] = {}
        for source in _SHORTCODES:
            for code, names in json.loads((folder / f"en/shortcodes/{source}.json").read_text()).items():
                for name in map(plain, [names] if isinstance(names, str) else names):
                    shortcodes.setdefault(name, plain_code(code))
                    if re.search("[a-z]{3}", name):
                        synonyms.setdefault(plain_code(code), {})[name] = None
        concepts = []
        for entry in json.loads((folder / "en/data.json").read_text()):
            code, label = plain_code(entry["hexcode"]), entry["label"]
            subgroup = subgroups[str(entry["subgroup"])] if "subgroup" in entry else ""
            others = tuple(name for name in synonyms.get(code, ()) if name != plain(label))
            concepts.append(Concept(code, label, tuple(entry.get("tags", ())), subgroup, others))
        return cls(concepts, shortcodes)

    def code_of(self, name: str) -> str:
        """Return the code points of a name, or "". Some sets omit spaces ("alarmclock")."""
        name = _FLAG_FOR.sub("flag ", plain(name))
        return self._by_name.get(name) or self._by_letters.get(name.replace(" ", ""), "")


def plain(name: str) -> str:
    """Normalize a name as icon names are: "Woman’s boot" becomes "womans boot"."""
    return re.sub("[^a-z0-9]+", " ", re.sub("['’]", "", name.lower())).strip()


def plain_code(code: str) -> str:
    """Normalize code points: "1f466-fe0f" becomes "1F466", upper case without the variation selector."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def is_skin_tone(icon: str, icons: Mapping[str, object]) -> bool:
    """Return whether an emoji icon repeats another one of its set in a skin tone."""
    return "skin-tone" in icon or (bool(_TONE.search(icon)) and _TONE.sub("", icon) in icons)


def icon_words(name: str) -> str:
    """Return the name of a general icon without words of style, or "" for a logo or a letter."""
    words = [word for word in name.split() if word not in _STYLE_WORDS and not word.isdigit()]
    cleaned = " ".join(words)
    return "" if _NOT_A_THING.search(cleaned) or not re.search("[a-z]{3}", cleaned) else cleaned


def shows_a_thing(name: str, concepts: Concepts) -> bool:
    """Return whether an icon's short name contains a word of an emoji's name, which filters interface icons."""
    words = name.split()
    return len(words) <= 3 and any(word in concepts.words for word in words)
