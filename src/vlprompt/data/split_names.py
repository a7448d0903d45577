"""Names of splits, in folders, tables, split files and Hugging Face datasets alike."""

import re
import unicodedata
from collections.abc import Iterable

SPLITS = ("train", "val", "test")
WORDS = {
    "train": "train training trn trainval",
    "val": "val vals valid validation validate dev development eval evaluation",
    "test": "test tests testing tst",
}
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words.split()}
# Words beside that of the split, as in `training_set` or `test images`.
FILLERS = frozenset(
    "set sets data dataset image images img imgs picture pictures photo photos file files dir folder split".split()
)
# Both in one word, as in `testset` or `traindata`.
COMPOUND = re.compile(f"({'|'.join(SPLIT_OF)})({'|'.join(FILLERS)})")


def split_names(names: Iterable[str]) -> dict[str, str]:
    """Return the split ("train", "val" or "test") of each name that denotes one, among names that occur together.

    Case, separators, numbers and words such as "set" or "images" do not matter. Names that share other words denote
    splits only if they denote different ones, as `seg_train` and `seg_test` do.

    Examples:
        >>> split_names(["Training", "test_set", "valid", "cat"])
        {'Training': 'train', 'test_set': 'test', 'valid': 'val'}
        >>> split_names(["seg_train", "seg_test", "seg_pred"])
        {'seg_train': 'train', 'seg_test': 'test'}
        >>> split_names(["train_station", "bus_stop"])
        {}
    """
    found: dict[str, str] = {}
    sharing: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        parts = _parts(name)
        if parts is not None:
            split, others = parts
            sharing.setdefault(others, {})[name] = split
    for others, splits in sharing.items():
        if not others or len(set(splits.values())) > 1:
            found |= splits
    return found


def _parts(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split that a name denotes, and its other words; None if it denotes no split or several."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))  # trainSet
    words = [part for word in re.findall(r"[^\W\d_]+", spaced.casefold()) for part in _divided(word)]
    splits = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
    if splits == {"train", "val"} and words == ["train", "val"]:
        splits = {"train"}
    if len(splits) != 1:
        return None
    return splits.pop(), tuple(word for word in words if word not in SPLIT_OF and word not in FILLERS)


def _divided(word: str) -> tuple[str, ...]:
    compound = COMPOUND.fullmatch(word)
    return compound.groups() if compound else (word,)
