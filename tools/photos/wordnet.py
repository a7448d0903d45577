"""Nouns of WordNet 3.0, read from its database files, whose offsets are ImageNet's names of classes."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

PERSON, CLOTHING, ATTIRE = "n00007846", "n03051540", "n02756098"


@dataclass
class WordNet:
    """Nouns of WordNet.

    Attributes:
        names: names of each synset, the most common first.
        parents: broader synsets of each synset.
        gloss: definition of each synset.
        senses: synsets of each lower-cased name, the most common first.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    gloss: dict[str, str] = field(default_factory=dict)
    senses: dict[str, list[str]] = field(default_factory=dict)

    def broader(self, synset: str) -> list[str]:
        """Return a synset and all broader ones, the nearest first."""
        found = [synset]
        for near in found:
            found += [parent for parent in self.parents[near] if parent not in found]
        return found

    def below(self, classes: list[str]) -> dict[str, list[int]]:
        """Return the indices of the classes at or below each synset."""
        found = defaultdict(list)
        for index, synset in enumerate(classes):
            for broader in self.broader(synset):
                found[broader].append(index)
        return dict(found)


def read_wordnet(folder: Path) -> WordNet:
    """Read `data.noun` and `index.noun`."""
    wordnet = WordNet()
    for line in _lines(folder / "data.noun"):
        body, _, gloss = line.partition(" | ")
        fields = body.split()
        synset, count = "n" + fields[0], int(fields[3], 16)
        pointers = fields[5 + 2 * count :]
        wordnet.names[synset] = [name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
        wordnet.parents[synset] = [
            "n" + target
            for symbol, target, part in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=False)
            if symbol in ("@", "@i") and part == "n"
        ]
        wordnet.gloss[synset] = gloss.strip()
    for line in _lines(folder / "index.noun"):
        fields = line.split()
        wordnet.senses[fields[0].replace("_", " ")] = ["n" + offset for offset in fields[-int(fields[2]) :]]
    return wordnet


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]
