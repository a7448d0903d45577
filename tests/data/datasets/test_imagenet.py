"""ImageNet and its shifted sets: class folders by synset or number."""

import logging
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers import dataset_trees as trees
from vlprompt.data.check import inspect
from vlprompt.data.datasets.known import read_classes
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError

KEYS = read_classes("imagenet").keys


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    trees.synsets(root / "imagenet/images/train", KEYS, 2)
    trees.synsets(root / "imagenet/images/val", KEYS)
    trees.write_images(
        root / "imagenetv2/imagenetv2-matched-frequency-format-val", [f"{n}/{n:02}a.jpeg" for n in range(1000)]
    )
    trees.synsets(root / "imagenet-sketch/images", KEYS)
    trees.synsets(root / "imagenet-adversarial/imagenet-a", read_classes("imagenet-a").keys)
    (root / "imagenet-adversarial/imagenet-a/README.txt").write_text("ImageNet-A")
    trees.synsets(root / "imagenet-r", read_classes("imagenet-r").keys)
    return root


def test_labels_follow_synsets_and_val_is_the_test_set(data: Path) -> None:
    dataset = load_dataset("imagenet", root=data)
    assert Counter(item.label for item in dataset.train) == dict.fromkeys(range(1000), 2)
    assert not dataset.val
    assert [item.path for item in dataset.test[:2]] == [
        "images/val/n01440764/n01440764_0.JPEG",
        "images/val/n01443537/n01443537_0.JPEG",
    ]
    assert [item.label for item in dataset.test] == list(range(1000))
    assert dataset.class_names[0] == "tench"
    assert dataset.shifted == ("imagenet-v2", "imagenet-sketch", "imagenet-a", "imagenet-r")
    assert len(dataset.subset("base").class_names) == 500


# CoOp's file calls both of them "missile".
TWINS = ("n03773504", "n04008634")


def test_torchvision_folders_with_coop_class_names(data: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "imagenet").mkdir(exist_ok=True)
        (tmp_path / "imagenet" / split).symlink_to(data / "imagenet/images" / split)
    assert load_dataset("imagenet", root=tmp_path).test[0].path == "val/n01440764/n01440764_0.JPEG"
    words = tmp_path / "imagenet/classnames.txt"
    trees.lines(words, [f"{key} word {number}" for number, key in enumerate(KEYS)])
    assert load_dataset("imagenet", root=tmp_path).class_names[999] == "word 999"
    for name in ("imagenetv2", "imagenet-r"):
        (tmp_path / name).symlink_to(data / name)
    assert load_dataset("imagenet-v2", root=tmp_path).class_names[999] == "word 999"
    assert load_dataset("imagenet-r", root=tmp_path).class_names[0] == f"word {KEYS.index('n01443537')}"
    trees.lines(words, [f"{key} {'missile' if key in TWINS else number}" for number, key in enumerate(KEYS)])
    names = load_dataset("imagenet", root=tmp_path).class_names
    assert [names[KEYS.index(key)] for key in TWINS] == ["missile", "projectile"]
    trees.lines(words, [f"{key} word" for key in KEYS[:999]])
    with pytest.raises(VLPromptError, match=r"classnames\.txt cannot be used: it has no words for n15075141"):
        load_dataset("imagenet", root=tmp_path)


def test_imagenet_without_train(data: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet/images").mkdir(parents=True)
    (tmp_path / "imagenet/images/val").symlink_to(data / "imagenet/images/val")
    dataset = load_dataset("imagenet", root=tmp_path)
    assert len(dataset.test) == 1000
    with pytest.raises(VLPromptError, match="'imagenet' has no training images"):
        dataset.few_shot(1, 1)


def test_unknown_folders_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trees.synsets(tmp_path / "imagenet/images/val", ["n01440764", "n99999999"])
    (tmp_path / "imagenet/images/val/n01443537").mkdir()
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        dataset = load_dataset("imagenet", root=tmp_path)
    assert [item.label for item in dataset.test] == [0]
    place = tmp_path / "imagenet/images/val"
    assert caplog.messages == [
        f"imagenet: {place} has no folder n01484850, n01491361, n01494475, n01496331, n01498041 and 993 more",
        f"imagenet: {place} has no images in n01443537",
        f"imagenet: {place} has folders that are not classes of the dataset: n99999999",
    ]
    for path in list(place.rglob("*")):
        if path.is_file():
            path.rename(place / path.name)
    with pytest.raises(VLPromptError, match="imagenet has no images in its class folders; download them again"):
        load_dataset("imagenet", root=tmp_path)


def test_v2_folders_are_label_numbers(data: Path) -> None:
    dataset = load_dataset("imagenet-v2", root=data)
    assert dataset.train == dataset.val == ()
    folders = [item.path.split("/")[1] for item in dataset.test]
    assert [item.label for item in dataset.test] == [int(folder) for folder in folders] == list(range(1000))
    assert dataset.class_names == load_dataset("imagenet", root=data).class_names


def test_sketch_layouts(data: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet-sketch").mkdir()
    (tmp_path / "imagenet-sketch/sketch").symlink_to(data / "imagenet-sketch/images")
    for root in (data, tmp_path):
        assert [item.label for item in load_dataset("imagenet-sketch", root=root).test] == list(range(1000))


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r"])
def test_subsets_have_200_relabeled_classes(name: str, data: Path) -> None:
    dataset = load_dataset(name, root=data)
    classes = read_classes(name)
    assert dataset.class_names == classes.words
    assert [item.label for item in dataset.test] == list(range(200))
    assert all(item.path.startswith(f"{name}/{classes.keys[item.label]}/") for item in dataset.test)


@pytest.mark.parametrize("train", [True, False])
def test_validation_images_without_class_folders(train: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "imagenet"
    trees.write_images(folder, [f"val/ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 6)])
    if train:
        trees.synsets(folder / "train", KEYS)
    with pytest.raises(VLPromptError, match="imagenet has no "):
        load_dataset("imagenet", root=tmp_path)
    said = (
        f"{folder / 'val'} holds 5 images directly, without class folders; torchvision.datasets.ImageNet or valprep.sh"
    )
    assert any(line.startswith(said) for line in caplog.messages)
    assert any(problem.startswith(said) for problem in inspect("imagenet", tmp_path).problems)
