"""Known names: texts, and what an image of each should look like as a mixture of an ImageNet classifier's classes."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo
from tools.photos.wordnet import ATTIRE, CLOTHING, PERSON, WordNet
from torch import Tensor

LARGEST = 400  # broader terms with more classes below them say nothing
PEOPLE = "human people man woman child boy girl adult baby".split()
CLASS_NAMES = 3  # of a class, open_clip's first
BROADER_NAMES = 1  # of a broader term, the most common ones


@dataclass(frozen=True)
class Known:
    """Known names.

    Attributes:
        texts: K names.
        synsets: synset of each name.
        mixtures: weights (K, C) of the classes, each row with sum 1.
        exact: whether (K,) the name is that of a class, rather than a broader term.
    """

    texts: list[str]
    synsets: list[str]
    mixtures: Tensor
    exact: Tensor


def class_synsets() -> list[str]:
    """Return the synsets of ImageNet's 1,000 classes."""
    synsets: list[str] = ImageNetInfo().label_names()
    return synsets


def class_names() -> list[list[str]]:
    """Return open_clip's names of ImageNet's 1,000 classes, in lower case, without what it remarks in parentheses."""
    return [re.sub(r" *\(.*?\)", "", name.lower()).split(" / ") for name in IMAGENET_CLASSNAMES]


def known_names(wordnet: WordNet, hidden: Collection[int] = (), *, people: bool = True) -> Known:
    """Return all known names.

    They are the names of the classes and their synonyms, and broader terms, as the mean of the classes below. People
    are known by what they wear, too: three classes are people, and many are clothes.

    Args:
        wordnet: WordNet's nouns.
        hidden: classes that are left out, as if the classifier did not know them.
        people: whether people are known by what they wear.
    """
    classes, primary = class_synsets(), class_names()
    below = {
        synset: kept
        for synset, found in wordnet.below(classes).items()
        if (kept := [index for index in found if index not in hidden])
    }
    own = {synset: index for index, synset in enumerate(classes)}
    worn = [index for index in _worn(wordnet, classes, below) if index not in hidden]
    rows: list[tuple[str, str, dict[int, float], bool]] = []
    for synset, found in below.items():
        person = people and PERSON in wordnet.broader(synset)
        names = [name.lower() for name in wordnet.names[synset] if not _scientific(wordnet, name)]
        if synset in own:
            names = list(dict.fromkeys([*primary[own[synset]], *names]))[:CLASS_NAMES]
            rows += [(name, synset, {own[synset]: 1.0}, True) for name in names]
        elif len(found) <= LARGEST:
            mixture = _mean([found, worn]) if person else _mean([found])
            rows += [(name, synset, mixture, False) for name in names[:BROADER_NAMES]]
    if people and (persons := below.get(PERSON, worn)):
        rows += [(name, PERSON, _mean([persons, worn]), False) for name in PEOPLE]
    mixtures = torch.zeros(len(rows), len(classes))
    for index, row in enumerate(rows):
        mixtures[index, list(row[2])] = torch.tensor(list(row[2].values()))
    return Known(
        [row[0] for row in rows],
        [row[1] for row in rows],
        mixtures,
        torch.tensor([row[3] for row in rows]),
    )


def _scientific(wordnet: WordNet, name: str) -> bool:
    """Return whether a name is a scientific one, such as "Tinca tinca", which few people write."""
    first, *rest = name.split()
    if not rest or not first.istitle() or not name[len(first) :].islower():
        return False
    return rest[-1] not in wordnet.senses or rest[-1] == first.lower()


def _mean(groups: list[list[int]]) -> dict[int, float]:
    """Return the weights of the mean of the means of groups of classes."""
    mixture: dict[int, float] = {}
    for group in groups:
        for index in group:
            mixture[index] = mixture.get(index, 0.0) + 1 / len(group) / len(groups)
    return mixture


def _worn(wordnet: WordNet, classes: list[str], below: dict[str, list[int]]) -> list[int]:
    """Return the classes of things that people wear."""
    clothes = {*below.get(CLOTHING, []), *below.get(ATTIRE, [])}
    told = {index for index, synset in enumerate(classes) if re.search(r"\bworn\b", wordnet.gloss[synset])}
    return sorted(clothes | told)
