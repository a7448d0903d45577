"""CoOp's folders, with its `split_zhou_*.json`."""

import json
import logging
import random
from pathlib import Path

import pytest

from tests.helpers import dataset_trees as trees
from vlprompt.data.datasets.known import read_classes
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError

# name: folder, image folder, split file, path for a class key and a number, and spelling of a class name
FIELD = {
    "caltech101": ("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json", "{key}/image_{n:04}.jpg"),
    "oxford-pets": ("oxford_pets", "images", "split_zhou_OxfordPets.json", "{key}_{n}.jpg"),
    "stanford-cars": ("stanford_cars", "", "split_zhou_StanfordCars.json", "cars_train/{label:03}{n:02}.jpg"),
    "flowers102": ("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json", "image_{label:03}{n:02}.jpg"),
    "food101": ("food-101", "images", "split_zhou_Food101.json", "{key}/{n}.jpg"),
    "sun397": ("sun397", "SUN397", "split_zhou_SUN397.json", "{key}/sun_{n}.jpg"),
    "dtd": ("dtd", "images", "split_zhou_DescribableTextures.json", "{key}/{key}_{n:04}.jpg"),
    "eurosat": ("eurosat", "2750", "split_zhou_EuroSAT.json", "{key}/{key}_{n}.jpg"),
    "ucf101": ("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json", "{key}/v_{key}_g{n:02}_c01.jpg"),
}


def make(root: Path, name: str) -> Path:
    """Create a dataset folder with a split like the published one; return the split file."""
    folder, images, file, path = FIELD[name]
    labels = read_classes(name).labels
    rows = trees.field_split(
        name,
        lambda key, n: path.format(key=key, n=n, label=labels[key]),
        lambda word: word if name in ("stanford-cars", "eurosat", "flowers102") else word.replace(" ", "_"),
    )
    trees.split_json(root / folder / file, root / folder / images, rows)
    return root / folder / file


@pytest.mark.parametrize("name", FIELD)
def test_split_json_is_read_unchanged(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = make(tmp_path, name)
    written = json.loads(file.read_text())
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset(name, root=tmp_path)
    assert not caplog.messages
    folder, images = tmp_path / FIELD[name][0], FIELD[name][1]
    assert (dataset.name, dataset.root) == (name, folder)
    assert dataset.class_names == read_classes(name).words
    for split, items in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)):
        assert [(item.path, item.label) for item in items] == [
            (f"{images}/{path}" if images else path, label) for path, label, _ in written[split]
        ]
        assert all((folder / item.path).is_file() for item in items[::50])
    # Base and new are CoOp's halves: by the label numbers of the file, not by the order of its lines.
    base = dataset.subset("base")
    middle = (len(dataset.class_names) + 1) // 2
    by_label = {label: word for _, label, word in written["train"]}
    assert base.class_names == tuple(by_label[label].replace("_", " ") for label in range(middle))
    assert {item.label for item in base.test} == set(range(middle))


def test_shots_follow_the_file_order(tmp_path: Path) -> None:
    written = json.loads(make(tmp_path, "eurosat").read_text())
    rng = random.Random(3)
    expected = []
    for label in range(9, -1, -1):  # in the file, the last class comes first
        group = [f"2750/{path}" for path, found, _ in written["train"] if found == label]
        expected += rng.sample(group, 1)
    assert [item.path for item in load_dataset("eurosat", root=tmp_path).few_shot(1, 3).train] == expected


def test_class_names_in_the_file_take_precedence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = make(tmp_path, "eurosat")
    file.write_text(file.read_text().replace("Sea or Lake", "open_water"))
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset("eurosat", root=tmp_path)
    assert dataset.class_names[9] == "open water"
    assert caplog.messages == [
        "eurosat: split_zhou_EuroSAT.json has other class names: class 9 is 'open water' instead of 'Sea or Lake'"
    ]


def test_split_json_with_backslashes(tmp_path: Path) -> None:
    file = make(tmp_path, "eurosat")
    expected = load_dataset("eurosat", root=tmp_path)
    file.write_text(file.read_text().replace("/", "\\\\"))
    assert load_dataset("eurosat", root=tmp_path) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split.update(test=None), "it has no list 'test'"),
        (lambda split: split["val"].append(["a.jpg", 10, "Forest"]), r"is not \[path, label of 0 to 9, class name\]"),
        (lambda split: split["val"].append(["a.jpg", "1", "Forest"]), "is not .path, label of 0 to 9"),
        (lambda split: split["val"].append(["a.jpg", 1, "River"]), "class 1 is called 'Forest' and 'River'"),
    ],
)
def test_wrong_label_map_is_rejected(change: object, message: str, tmp_path: Path) -> None:
    file = make(tmp_path, "eurosat")
    split = json.loads(file.read_text())
    assert callable(change)
    change(split)
    file.write_text(json.dumps(split))
    with pytest.raises(VLPromptError, match=rf"split_zhou_EuroSAT.json cannot be used: .*{message}"):
        load_dataset("eurosat", root=tmp_path)


def test_broken_split_and_missing_images_are_rejected(tmp_path: Path) -> None:
    file = make(tmp_path, "eurosat")
    (tmp_path / "eurosat/2750/River/River_2.jpg").unlink()
    with pytest.raises(VLPromptError, match=r"1 images of eurosat are not in .*; the first is 2750/River/River_2.jpg"):
        load_dataset("eurosat", root=tmp_path)
    file.write_text(file.read_text()[:200])
    with pytest.raises(VLPromptError, match=r"split_zhou_EuroSAT.json cannot be used: it is not JSON"):
        load_dataset("eurosat", root=tmp_path)
