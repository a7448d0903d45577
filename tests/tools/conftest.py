import numpy as np
import pytest
from tools.pictoclip.corpus import Corpus, Drawing
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.names import Concept, Concepts

STYLES = (
    ("a", "a", True),
    ("mono", "a", True),
    ("b", "b", True),
    ("icons", "i", False),
    ("lucide", "lucide", False),
)
SUBGROUPS = ("food-fruit", "animal-mammal", "tool", "country-flag")


@pytest.fixture(scope="session")
def data() -> TrainingSet:
    concepts = [Concept(f"{i:X}", f"thing {i}", ("tag",), SUBGROUPS[i % 4]) for i in range(12)]
    drawings = [
        Drawing(style, family, c.label, c.label, c.code, emoji=emoji, color=style != "mono")
        for style, family, emoji in STYLES
        for c in concepts
    ]
    drawings += [Drawing("icons", "i", f"widget {i}", f"widget {i}", "", False, False) for i in range(12)]
    pictures = np.random.default_rng(0).integers(0, 256, (len(drawings), 36, 36, 4), dtype=np.uint8)
    return TrainingSet(Corpus(pictures, drawings, Concepts(concepts, {})))
