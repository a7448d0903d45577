"""Labels of runs in tables."""

import pytest

from vlprompt.config.resolve import parse_method, parse_settings, resolve_config
from vlprompt.config.schema import RunConfig
from vlprompt.runs.labels import method_label, recipe_label


def make(method: str = "dapt", recipe: str = "paper", *settings: str, protocol: str = "few-shot") -> RunConfig:
    given = {"backbone.source": "embedded", "data.source": "openmoji", **parse_settings(settings)}
    return resolve_config(method=method, protocol=protocol, recipe=recipe, settings=given)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ([], "dapt"),
        (["method.beta_text=1", "optim.lr=1"], "dapt"),
        (["method.beta_text=0"], "dapt[beta_text=0]"),
        (["method.beta_visual=0.5", "method.n_text=8"], "dapt[n_text=8,beta_visual=0.5]"),
        (["method.template=x {}"], "dapt[template=x {}]"),
    ],
)
@pytest.mark.parametrize("recipe", ["paper", "unified"])
def test_method_label_lists_overridden_options(recipe: str, settings: list[str], label: str) -> None:
    assert method_label(make("dapt", recipe, *settings)) == label


def test_method_label_round_trips_through_parse_method() -> None:
    settings = ["method.ctx_init=null", "method.class_specific=true", 'method.template=["a {}", "the {}, or so"]']
    config = make("coop", "paper", *settings, protocol="base-to-new")
    label = method_label(config)
    assert label == 'coop[template=["a {}", "the {}, or so"],ctx_init=null,class_specific=true]'
    name, options = parse_method(label)
    sources = {"backbone.source": "embedded", "data.source": "openmoji"}
    again = resolve_config(method=name, protocol="base-to-new", settings={**sources, **options})
    assert again == config


def test_method_label_omits_the_default_template() -> None:
    own = make().with_template("an icon of a {}.")
    given = make("dapt", "paper", "method.template=an icon of a {}.")
    assert method_label(own) == method_label(own, "an icon of a {}.") == "dapt"
    assert method_label(given, "an icon of a {}.") == "dapt"
    assert method_label(given, "a photo of a {}.") == "dapt[template=an icon of a {}.]"


@pytest.mark.parametrize(
    ("recipe", "settings", "label"),
    [
        ("unified", [], "unified"),
        ("paper", ["method.n_text=8", "data.shots=2", "seed=3"], "paper"),
        ("unified", ["optim.epochs=1"], "unified, optim.epochs=1"),
        ("paper", ["optim.lr=0.1", "data.views=0"], "paper, optim.lr=0.1, data.views=0"),
        ("paper", ["data.crop_scale=[0.6, 1.0]"], "paper, data.crop_scale=[0.6, 1.0]"),
    ],
)
def test_recipe_label_lists_overridden_settings(recipe: str, settings: list[str], label: str) -> None:
    assert recipe_label(make("dapt", recipe, *settings)) == label


def test_labels_without_recorded_recipe_list_all_options() -> None:
    runs = [make("coop", "paper", *settings) for settings in ([], ["method.n_ctx=4"], ["optim.lr=1"], ["data.views=1"])]
    old = [run.model_copy(update={"recipe": None, "overrides": {}}) for run in runs]
    assert recipe_label(old[0]) == "not recorded, optim.epochs=200"
    assert recipe_label(old[3]) == "not recorded, optim.epochs=200, data.views=1"
    assert method_label(old[0]).startswith("coop[n_ctx=16,")
    assert len({(method_label(run), recipe_label(run)) for run in old}) == len(runs)
