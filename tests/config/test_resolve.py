"""Recipes laid over one another, and what runs are called by what came of it."""

from pathlib import Path
from typing import Any

import pytest

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import read_recipe
from vlprompt.config.resolve import UNIFIED, method_label, read_value, recipe_labels, resolve
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import list_methods


def make(
    method: str = "dapt",
    protocol: str = "few-shot",
    recipe: str | None = None,
    *settings: str,
    source: str = "openmoji",
    shots: int | None = None,
) -> RunConfig:
    flags = {"data.source": source, "data.shots": shots}
    return parse_config(resolve(method, protocol, recipe, flags, list(settings)))


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("method", list_methods())
def test_the_unified_recipe_changes_all_but_the_method(method: str, protocol: str) -> None:
    own, unified = make(method, protocol), make(method, protocol, UNIFIED)
    assert unified.method == own.method
    assert unified.protocol == protocol
    coop = make("coop", protocol, UNIFIED)
    assert (unified.optim, unified.data) == (coop.optim, coop.data)
    assert unified.optim.optimizer == "adamw"


def test_paper_is_the_methods_own_recipe() -> None:
    assert make("coop", recipe="paper") == make("coop") == make("coop", recipe="coop/few-shot")


@pytest.mark.parametrize(
    ("method", "protocol", "recipe"),
    [
        ("maple", "cross-dataset", "maple/cross-dataset"),
        ("maple", "domain-generalization", "maple/cross-dataset"),
        ("coop", "domain-generalization", "coop/cross-dataset"),
        ("cocoop", "cross-dataset", "cocoop/base-to-new"),
        ("vpt", "domain-generalization", "vpt/base-to-new"),
        ("tip-adapter-f", "domain-generalization", "tip-adapter-f/few-shot"),
        ("tip-adapter-f", "base-to-new", None),
    ],
)
def test_another_protocols_recipe_stands_in(method: str, protocol: str, recipe: str | None) -> None:
    expected = read_recipe(recipe) if recipe else {"method": {"name": method}}
    assert resolve(method, protocol, None, {}, []) == {**expected, "protocol": protocol}
    assert method_label(make(method, protocol)) == method
    assert recipe_labels(make(method, protocol)) == ["paper"]


def test_settings_go_over_flags_and_flags_over_recipes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optim: {epochs: 3, lr: 0.5}\ndata: {shots: 2}\n")
    values: dict[str, Any] = resolve(
        "coop", "few-shot", str(tmp_path / "mine.yaml"), {"data.shots": 4, "seed": None}, ["optim.lr=1"]
    )
    assert values["method"] == {"name": "coop", "n_ctx": 16}
    assert values["optim"] == {"epochs": 3, "lr": 1}  # CoOp's own batch size went with its section
    assert values["data"] == {"shots": 4}
    assert "seed" not in values


def test_a_recipe_brings_its_method_and_protocol_along() -> None:
    values = resolve(None, None, "coop/base-to-new", {}, [])
    assert (values["method"]["name"], values["protocol"]) == ("coop", "base-to-new")
    assert resolve("coop", "few-shot", "coop/base-to-new", {}, []) == {**values, "protocol": "few-shot"}
    with pytest.raises(VLPromptError, match="--recipe dapt/few-shot is for method dapt, not for coop"):
        resolve("coop", None, "dapt/few-shot", {}, [])


def test_a_recipe_with_a_nameless_method_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: dapt\n")
    with pytest.raises(VLPromptError, match="its section `method` has no `name`"):
        resolve(None, None, str(tmp_path / "mine.yaml"), {}, [])


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ([], "dapt"),
        (["method.beta_text=1"], "dapt"),
        (["method.beta_text=0"], "dapt[beta_text=0]"),
        (["method.beta_visual=0.5", "method.n_text=8"], "dapt[n_text=8,beta_visual=0.5]"),
        (["method.template=x {}"], "dapt[template=x {}]"),
    ],
)
def test_a_method_is_called_by_what_its_recipe_does_not_say(settings: list[str], label: str) -> None:
    assert method_label(make("dapt", "few-shot", UNIFIED, *settings)) == label


def test_a_label_can_be_given_back() -> None:
    label = method_label(make("coop", "base-to-new", None, "method.ctx_init=null", "method.class_specific=true"))
    assert label == "coop[ctx_init=null,class_specific=true]"
    again = [f"method.{option}" for option in label.removeprefix("coop[").removesuffix("]").split(",")]
    assert method_label(make("coop", "base-to-new", None, *again)) == label


def test_the_datasets_own_template_is_not_worth_a_mention() -> None:
    config = make().with_template("an icon of a {}.")
    assert method_label(config, "an icon of a {}.") == "dapt"
    assert method_label(config, "a photo of a {}.") == "dapt[template=an icon of a {}.]"


@pytest.mark.parametrize(
    ("recipe", "settings", "label"),
    [
        ("unified", [], "unified"),
        ("paper", [], "paper"),
        ("paper", ["method.n_text=8", "data.shots=2", "runtime.threads=1", "seed=3"], "paper"),
        ("unified", ["optim.epochs=1"], "unified, optim.epochs=1"),
        ("paper", ["optim.lr=0.1", "data.views=0"], "paper, optim.lr=0.1, data.views=0"),
        ("paper", ["data.crop_scale=[0.5, 1.0]"], "unified"),  # of DAPT, which is then the same
    ],
)
def test_a_recipe_is_known_by_its_settings(recipe: str, settings: list[str], label: str) -> None:
    assert recipe_labels(make("dapt", "few-shot", recipe, *settings)) == [label]


@pytest.mark.parametrize(("shots", "epochs"), [(1, 50), (2, 100), (4, 100), (5, 100), (8, 200), (16, 200), (None, 200)])
def test_epochs_by_shots(shots: int | None, epochs: int) -> None:
    config = make("coop", shots=shots)
    assert config.optim.epochs == epochs
    assert recipe_labels(config) == ["paper"]


def test_two_recipes_can_be_as_near() -> None:
    labels = recipe_labels(make("dapt", "few-shot", "paper", "data.crop_scale=[0.6, 1.0]"))
    assert labels == ["paper, data.crop_scale=[0.6, 1.0]", "unified, data.crop_scale=[0.6, 1.0]"]


def test_epochs_by_shots_of_a_recipe_that_starts_late(tmp_path: Path) -> None:
    (tmp_path / "late.yaml").write_text("optim: {epochs: {4: 7, 8: 9}}\ndata: {shots: 8}\n")
    late = str(tmp_path / "late.yaml")
    assert [make(recipe=late, shots=shots).optim.epochs for shots in (2, 4, None)] == [7, 7, 9]
    assert make("dapt", "few-shot", late, "optim.epochs={8: 5}").optim.epochs == 5


@pytest.mark.parametrize("epochs", ["{}", "{few: 3}", "{1: many}", "[1, 2]"])
def test_epochs_that_are_none(epochs: str) -> None:
    with pytest.raises(VLPromptError, match=r"^optim\.epochs="):
        make("dapt", "few-shot", None, f"optim.epochs={epochs}")


@pytest.mark.parametrize(
    ("dataset", "lr", "epochs"), [("dtd", 20.0, 100), ("imagenet", 2.0, 50), ("/data/dtd", 20.0, 100)]
)
def test_a_set_of_recipes_has_one_for_each_dataset(dataset: str, lr: float, epochs: int) -> None:
    config = make("dapt", "few-shot", "dapt/published", source=dataset, shots=2)
    assert config == make("dapt", "few-shot", f"dapt/published/{Path(dataset).name}", source=dataset, shots=2)
    assert (config.optim.lr, config.optim.epochs) == (lr, epochs)
    assert (method_label(config), recipe_labels(config)) == ("dapt", ["dapt/published"])
    ablation = make("dapt", "few-shot", "dapt/published", "method.beta_text=0", "optim.lr=3", source=dataset, shots=2)
    assert method_label(ablation) == "dapt[beta_text=0]"
    assert recipe_labels(ablation) == ["dapt/published, optim.lr=3"]


def test_a_set_without_the_dataset() -> None:
    with pytest.raises(VLPromptError, match=r"has settings for caltech101, .*not for openmoji; .*published/caltech101"):
        make("dapt", "few-shot", "dapt/published")


def test_values_are_yaml_or_text() -> None:
    assert [read_value(text) for text in ("1", "1e-3", "[1, 2]", "null", "{} texture.")] == [
        1, "1e-3", [1, 2], None, "{} texture.",
    ]  # fmt: skip


def test_mistakes() -> None:
    with pytest.raises(VLPromptError, match="unknown method 'cooop'"):
        resolve("cooop", "few-shot", UNIFIED, {}, [])
    for recipe in (UNIFIED, None):
        with pytest.raises(VLPromptError, match=r"protocol='one-shot': Input should be 'few-shot', 'base-to-new'"):
            make("coop", "one-shot", recipe)
    with pytest.raises(VLPromptError, match=r"did you mean 'unified'\? `vlprompt list recipes` has the names"):
        make("coop", recipe="unifed")
    with pytest.raises(VLPromptError, match="write it as KEY=VALUE"):
        resolve("coop", "few-shot", None, {}, ["optim.lr"])
