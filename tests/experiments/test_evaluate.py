"""One pass over the images matches one pass per test."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from vlprompt import VLPromptError, create_method, load_backbone, load_dataset
from vlprompt.backbones.backbone import Backbone
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import ProtocolName, RunConfig, parse_config
from vlprompt.data.dataset import Dataset
from vlprompt.experiments.evaluate import describe_tests, run_tests, summarize
from vlprompt.methods.base import Method
from vlprompt.methods.create import list_methods
from vlprompt.training.inputs import evaluation_inputs as inputs_of
from vlprompt.utils.progress import Reporter


@pytest.fixture(scope="module")
def backbone(weights: Path) -> Backbone:
    return load_backbone(str(weights))


@pytest.fixture(scope="module")
def dataset(pictures: Path) -> Dataset:
    """Five classes, so that halves differ in size; the first one has no test images."""
    found = load_dataset(pictures)
    more = tuple(replace(item, label=4) for item in found.test[-3:])
    test = tuple(item for item in (*found.test[:-3], *more) if item.label)
    return replace(found, class_names=(*found.class_names, "old snow"), test=test)


def configured(protocol: str, method: str = "coop") -> RunConfig:
    backbone = {"source": "embedded"}
    return parse_config(
        {"protocol": protocol, "backbone": backbone, "method": {"name": method}, "data": {"source": ""}}
    )


def apart(method: Method[Any], part: Dataset, config: RunConfig) -> torch.Tensor:
    """Return the probabilities of a test evaluated separately, with only its classes and images."""
    method.set_class_names(part.class_names)
    found = inputs_of(method, part.test, part.root, config, Reporter(quiet=True), frozen=False)
    with torch.no_grad():
        inputs = torch.stack([found[number][0] for number in range(len(part.test))])
        return method(inputs).logits.softmax(-1)


@pytest.mark.parametrize("name", sorted(set(list_methods()) - {"linear-probe", "tip-adapter", "tip-adapter-f"}))
def test_one_pass_matches_separate_label_spaces(name: str, backbone: Backbone, dataset: Dataset) -> None:
    torch.manual_seed(1)
    method = create_method(name, backbone, dataset.subset("base").class_names).eval()
    config, before = configured("base-to-new", name), method.class_names
    found = run_tests(config, dataset, {}, method, Reporter(quiet=True))
    assert method.class_names == before
    assert list(found) == ["base", "new", "open-base", "open-new"]
    for test, predictions in found.items():
        part = PROTOCOLS["base-to-new"].tests[test].select(dataset)
        torch.testing.assert_close(predictions.probabilities, apart(method, part, config), atol=1e-5, rtol=0)
        assert predictions.paths == [item.path for item in part.test]
        assert predictions.labels.tolist() == [item.label for item in part.test]
        assert len(predictions.class_names) == {"base": 3, "new": 2}.get(test, 5)
    method.set_class_names(before)


def test_images_are_encoded_once_for_all_label_spaces(
    backbone: Backbone, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = create_method("vpt", backbone, dataset.subset("base").class_names).eval()
    seen = []
    encode = type(backbone.vision).__call__

    def counted(self: Any, images: torch.Tensor, *words: Any, **keywords: Any) -> torch.Tensor:
        seen.append(len(images))
        return encode(self, images, *words, **keywords)

    monkeypatch.setattr(type(backbone.vision), "__call__", counted)
    run_tests(configured("base-to-new", "vpt"), dataset, {}, method, Reporter(quiet=True))
    assert sum(seen) == len(dataset.test)


@pytest.mark.parametrize("name", ["coop", "linear-probe", "tip-adapter"])
def test_shifted_domain_uses_columns_of_its_classes(name: str, backbone: Backbone, dataset: Dataset) -> None:
    torch.manual_seed(1)
    method = create_method(name, backbone, dataset.class_names).eval()
    if name == "linear-probe":
        method.weight.normal_()
    names = ("night", "green leaf")  # two of the five, in another order
    kept = [item for item in dataset.test if dataset.class_names[item.label] in names]
    test = tuple(replace(item, label=names.index(dataset.class_names[item.label])) for item in kept)
    target = replace(dataset, name="other", class_names=names, test=test)
    found = run_tests(
        configured("domain-generalization", name), dataset, {"other": target}, method, Reporter(quiet=True)
    )
    rows = [number for number, item in enumerate(dataset.test) if item in kept]
    whole = found["source"].probabilities[rows][:, [dataset.class_names.index(word) for word in names]]
    torch.testing.assert_close(found["other"].probabilities, whole / whole.sum(1, keepdim=True))
    assert found["other"].labels.tolist() == [item.label for item in test]


def test_summarize_adds_means_and_target_average() -> None:
    metrics = {name: {"accuracy": value} for name, value in (("source", 90.0), ("a", 40.0), ("b", 60.0))}
    assert PROTOCOLS["cross-dataset"].summary(metrics) == {"target_average": 50.0}
    halves = {"base": 60.0, "new": 30.0, "open-base": 50.0, "open-new": 0.0}
    assert PROTOCOLS["base-to-new"].summary({name: {"accuracy": value} for name, value in halves.items()}) == {
        "harmonic_mean": pytest.approx(40.0),
        "open_harmonic_mean": 0.0,
    }
    assert PROTOCOLS["few-shot"].summary({"test": {"accuracy": 1.0}}) == {}


def test_macro_accuracy_ignores_classes_without_images(backbone: Backbone, dataset: Dataset) -> None:
    method = create_method("zero-shot", backbone, dataset.class_names)
    predictions = run_tests(configured("few-shot", "zero-shot"), dataset, {}, method, Reporter(quiet=True))
    metrics = summarize("few-shot", predictions)["test"]
    right = predictions["test"].probabilities.argmax(1) == predictions["test"].labels
    by_class = {
        dataset.class_names[label]: 100 * right[predictions["test"].labels == label].double().mean().item()
        for label in (1, 2, 3, 4)
    }
    assert metrics["class_accuracy"] == pytest.approx(by_class, abs=0.005)
    assert metrics["macro_accuracy"] == pytest.approx(sum(by_class.values()) / 4, abs=1e-4)
    assert metrics["images"] == len(dataset.test)


def test_describe_tests_counts_images_and_classes(dataset: Dataset, tmp_path: Path) -> None:
    tests = describe_tests("base-to-new", dataset, {})
    assert {name: (test.classes, test.images) for name, test in tests.items()} == {
        "base": (3, len([item for item in dataset.test if item.label < 3])),
        "new": (2, len([item for item in dataset.test if item.label >= 3])),
        "open-base": (5, tests["base"].images),
        "open-new": (5, tests["new"].images),
    }
    assert len({test.hash for test in tests.values()}) == 4
    copied = replace(dataset, root=tmp_path / "elsewhere", train=(), name="again")
    shutil.copytree(dataset.root, copied.root)
    assert describe_tests("base-to-new", copied, {})["new"].hash == tests["new"].hash
    first, second = (copied.root / item.path for item in (dataset.test[0], dataset.test[-1]))
    first.write_bytes(second.read_bytes())
    changed = describe_tests("base-to-new", copied, {})
    assert [name for name in tests if changed[name].hash != tests[name].hash] == ["base", "open-base"]
    with pytest.raises(VLPromptError, match="has no test images of its new classes"):
        describe_tests("base-to-new", replace(dataset, test=dataset.test[:1]), {})


def test_single_class_test_raises(dataset: Dataset) -> None:
    few = replace(dataset, class_names=dataset.class_names[:3])
    with pytest.raises(VLPromptError, match="has 3 classes, which leaves only one new class to choose from"):
        PROTOCOLS["base-to-new"].tests["new"].select(few)


def test_protocol_names_match_the_schema() -> None:
    assert tuple(PROTOCOLS) == get_args(ProtocolName)
    assert [name for name, protocol in PROTOCOLS.items() if protocol.names_new] == ["base-to-new", "cross-dataset"]
    assert all(set(protocol.recipes) <= set(PROTOCOLS) for protocol in PROTOCOLS.values())
