"""Metadata of named datasets: class names and valid declarations."""

from importlib import resources
from pathlib import Path

import pytest
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo
from torchvision import datasets

from vlprompt.data.datasets.known import Known, read_classes
from vlprompt.data.datasets.on_disk import OnDisk
from vlprompt.data.loading import DATASETS, ON_DISK

CLASSES = {
    "imagenet": 1000,
    "caltech101": 100,
    "oxford-pets": 37,
    "stanford-cars": 196,
    "flowers102": 102,
    "food101": 101,
    "fgvc-aircraft": 100,
    "sun397": 397,
    "dtd": 47,
    "eurosat": 10,
    "ucf101": 101,
    "imagenet-v2": 1000,
    "imagenet-sketch": 1000,
    "imagenet-a": 200,
    "imagenet-r": 200,
    "cifar10": 10,
    "cifar100": 100,
}


def test_datasets_follow_the_order_of_coop_tables() -> None:
    assert [known.name for known in ON_DISK] == list(CLASSES)


@pytest.mark.parametrize("known", ON_DISK, ids=lambda known: known.name)
def test_declarations_are_valid(known: OnDisk) -> None:
    assert DATASETS.get(known.name) is known
    assert len(known.class_names) == CLASSES[known.name]
    assert known.template.count("{}") == 1
    assert known.about.endswith(".") and known.license and known.url.startswith("https://")
    assert len(set(known.class_names)) == len(known.class_names)
    assert all(word == " ".join(word.replace("_", " ").split()) for word in known.class_names)
    assert known.torchvision is None or hasattr(datasets, known.torchvision)
    assert len(set(known.classes.keys)) == len(known.classes.keys)
    for layout in known.layouts:
        assert layout.fetch and layout.needs and layout.sizes.keys() <= {"train", "val", "test", "all"}
        for size in layout.sizes.values():
            if size.each is not None:
                assert size.each[0] * len(known.class_names) <= size.images <= size.each[1] * len(known.class_names)
    assert all(isinstance(DATASETS.get(name), Known) for name in known.shifted)


def test_shifted_datasets_share_classes_with_their_source() -> None:
    for source in ("imagenet", "openmoji", "pictobench-animals"):
        known = DATASETS.get(source)
        assert isinstance(known, Known) and known.shifted
        for name in known.shifted:
            shifted = DATASETS.get(name)
            assert isinstance(shifted, Known)
            assert set(shifted.class_names) <= set(known.class_names)


def test_imagenet_names_match_open_clip_and_timm() -> None:
    classes = read_classes("imagenet")
    pairs = zip(classes.keys, classes.words, IMAGENET_CLASSNAMES, strict=True)
    assert {key: (ours, theirs) for key, ours, theirs in pairs if ours != theirs} == {
        "n04008634": ("projectile", "missile"),
        "n04355933": ("sunglass", "sunglasses"),
    }
    assert classes.keys == tuple(ImageNetInfo().label_names())
    assert classes.keys == tuple(sorted(classes.keys)), "labels are the sorted class folders"
    # Names that the cleaned list distinguishes.
    words = dict(zip(classes.keys, classes.words, strict=True))
    assert (words["n02012849"], words["n03126707"]) == ("crane bird", "construction crane")
    assert (words["n03710637"], words["n03710721"]) == ("tights", "one-piece bathing suit")


@pytest.mark.parametrize("subset", ["imagenet-a", "imagenet-r"])
def test_imagenet_subsets(subset: str) -> None:
    classes, full = read_classes(subset), read_classes("imagenet")
    theirs = resources.files("timm") / "data" / "_info" / f"{subset.replace('-', '_')}_synsets.txt"
    assert classes.keys == tuple(theirs.read_text().split())
    assert classes.keys == tuple(key for key in full.keys if key in classes.labels)
    assert classes.words == tuple(full.words[full.labels[key]] for key in classes.keys)


def test_flower_names_match_torchvision() -> None:
    theirs = [name.rstrip("?") for name in datasets.Flowers102.classes]  # it asks about one of them
    assert list(read_classes("flowers102").words) == theirs


@pytest.mark.parametrize(
    ("name", "label", "key", "word"),
    [  # around the border between base and new classes, and where words and keys differ
        ("caltech101", 0, "Faces", "face"),
        ("caltech101", 4, "airplanes", "airplane"),
        ("caltech101", 50, "ibis", "ibis"),
        ("oxford-pets", 5, "Bengal", "bengal"),
        ("oxford-pets", 19, "leonberger", "leonberger"),
        ("stanford-cars", 0, "AM General Hummer SUV 2000", "2000 AM General Hummer SUV"),
        ("stanford-cars", 98, "FIAT 500 Abarth 2012", "2012 FIAT 500 Abarth"),
        ("stanford-cars", 195, "smart fortwo Convertible 2012", "2012 smart fortwo Convertible"),
        ("flowers102", 51, "wild pansy", "wild pansy"),
        ("food101", 51, "guacamole", "guacamole"),
        ("fgvc-aircraft", 50, "Cessna 560", "Cessna 560"),
        ("sun397", 9, "a/apse/indoor", "indoor apse"),
        ("sun397", 199, "i/ice_skating_rink/outdoor", "outdoor ice skating rink"),
        ("dtd", 24, "matted", "matted"),
        ("dtd", 30, "polka-dotted", "polka-dotted"),
        ("eurosat", 5, "Pasture", "Pasture Land"),
        ("ucf101", 36, "HandstandPushups", "Handstand Pushups"),
        ("ucf101", 51, "Lunges", "Lunges"),
        ("cifar100", 41, "lawn_mower", "lawn mower"),
    ],
)
def test_label_order_matches_papers(name: str, label: int, key: str, word: str) -> None:
    classes = read_classes(name)
    assert (classes.keys[label], classes.words[label]) == (key, word)
    assert classes.labels[key] == label


def test_class_names_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = DATASETS.get("eurosat")
    assert isinstance(known, Known)
    assert known.where() is None
    assert known.class_names[:2] == ("Annual Crop Land", "Forest")
