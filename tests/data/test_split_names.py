import pytest

from vlprompt.data.split_names import split_names


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            "train TRAIN Training training_set TrainSet train-images Train2017 01_train train_val traindata trainset",
        ),
        ("val", "val Valid VALIDATION validation_set dev Dev eval evaluation val2017 valData validset"),
        ("test", "test TEST Testing test_set Test-Set test1 testImages testdata testset testdir"),
    ],
)
def test_names_of_one_split(split: str, names: str) -> None:
    for name in names.split():
        assert split_names([name, "extra"]) == {name: split}


@pytest.mark.parametrize(
    "name", ["cat", "trainer", "contest", "valley", "datatest", "train_station", "test tube", "train_test", "", "1"]
)
def test_other_names(name: str) -> None:
    assert split_names([name, "extra"]) == {}


def test_names_that_share_other_words() -> None:
    assert split_names(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
    assert split_names(["Cars Train", "cars-val"]) == {"Cars Train": "train", "cars-val": "val"}
    assert split_names(["seg_train", "other_test"]) == {}
    assert split_names(["seg_train", "train"]) == {"train": "train"}
