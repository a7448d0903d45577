"""Resolving recipes, options and settings to a configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import FOLDER, UNIFIED, list_recipes, read_recipe
from vlprompt.config.resolve import (
    parse_method,
    parse_names,
    parse_numbers,
    parse_settings,
    read_value,
    resolve_config,
    split_list,
    with_method_defaults,
)
from vlprompt.config.schema import OptimConfig, RunConfig, parse_config
from vlprompt.errors import VLPromptError
from vlprompt.methods.create import list_methods

pytestmark = pytest.mark.usefixtures("without_photos")


def make(
    method: str | None = "dapt",
    protocol: str | None = "few-shot",
    recipe: str | None = None,
    *settings: str,
    source: str = "openmoji",
    shots: int | None = None,
) -> RunConfig:
    given = {"data.source": source, "data.shots": shots, **parse_settings(settings)}
    return resolve_config(method=method, protocol=protocol, recipe=recipe, settings=given)


def same(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two configurations differ only in recipe and overrides."""
    labels = {"recipe": None, "overrides": {}}
    return one.model_copy(update=labels) == other.model_copy(update=labels)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("method", list_methods())
def test_unified_recipe_keeps_the_method_section(method: str, protocol: str) -> None:
    own, unified = make(method, protocol), make(method, protocol, UNIFIED)
    assert unified.method == own.method
    assert unified.protocol == protocol
    coop = make("coop", protocol, UNIFIED)
    assert (unified.optim, unified.data) == (coop.optim, coop.data)
    assert unified.optim.optimizer == "adamw"
    assert (own.recipe, own.overrides, unified.recipe, unified.overrides) == ("paper", {}, "unified", {})


def test_paper_selects_the_methods_own_recipe() -> None:
    assert make("coop", recipe="paper") == make("coop") == make("coop", recipe="coop/few-shot")
    assert make("coop", recipe="unified/few-shot").recipe == "unified"


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
def test_missing_recipe_falls_back_to_another_protocol(method: str, protocol: str, recipe: str | None) -> None:
    config = make(method, protocol)
    expected = read_recipe(recipe) if recipe else {"method": {"name": method}}
    assert config.method.name == method
    options = {key: str(value) for key, value in config.method.options.items()}
    assert expected["method"].items() <= {"name": method, **options}.items()
    assert config.optim == OptimConfig(**expected.get("optim", {}))
    assert (config.protocol, config.recipe, config.overrides) == (protocol, "paper", {})


def test_settings_override_recipes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optim: {epochs: 3, lr: 0.5}\ndata: {shots: 2}\nseed: 7\n")
    mine = str(tmp_path / "mine.yaml")
    settings = {"data.source": "openmoji", "data.shots": 4, "seed": None, "optim.lr": 1}
    config = resolve_config(method="coop", recipe=mine, settings=settings)
    assert config.method.options["n_ctx"] == 16
    assert (config.optim.epochs, config.optim.lr, config.data.shots, config.seed) == (3, 1, 4, 7)
    assert config.optim.batch_size == 32  # the default, since the recipe replaces CoOp's whole optim section
    assert (config.recipe, config.overrides) == ("mine.yaml", {"optim.lr": 1})


def test_recipe_sets_method_and_protocol() -> None:
    config = make(None, None, "coop/base-to-new")
    assert (config.method.name, config.protocol) == ("coop", "base-to-new")
    few = make("coop", "few-shot", "coop/base-to-new")
    assert (few.method, few.optim, few.protocol) == (config.method, config.optim, "few-shot")
    assert (config.recipe, few.recipe) == ("paper", "coop/base-to-new")
    with pytest.raises(VLPromptError, match="`recipe` dapt/few-shot is for `method` dapt, got coop"):
        make("coop", None, "dapt/few-shot")


def test_method_protocol_and_recipe_can_be_settings() -> None:
    settings = ["method.name=coop", "protocol=base-to-new", "recipe=unified"]
    assert make(None, None, None, *settings) == make("coop", "base-to-new", "unified")
    assert make("dapt", "few-shot", "paper", *settings) == make("coop", "base-to-new", "unified")


def test_resolved_configuration_can_be_used_as_recipe(tmp_path: Path) -> None:
    config = make("coop", "base-to-new", UNIFIED, "optim.epochs=3")
    (tmp_path / "again.yaml").write_text(config.model_dump_json())
    again = make(None, None, str(tmp_path / "again.yaml"))
    assert same(again, config)
    assert (again.recipe, again.overrides) == ("again.yaml", {})


def test_recipe_method_section_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: dapt\n")
    with pytest.raises(VLPromptError, match=r"has a method section without a name; add method\.name, or remove it"):
        make(None, None, str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        (["method.beta_text=1"], {}),
        (["method.beta_text=0"], {"method.beta_text": 0.0}),
        (["method.beta_visual=0.5", "method.n_text=8"], {"method.n_text": 8, "method.beta_visual": 0.5}),
        (["method.template=x {}"], {"method.template": "x {}"}),
        (["method.ctx_init=a photo"], {"method.ctx_init": "a photo"}),
        (["method.ctx_init=null"], {}),
        (["data.shots=2", "runtime.threads=1", "seed=3", "data.split_seed=4"], {}),
        (["optim.epochs=1"], {"optim.epochs": 1}),
        (["optim.lr=0.1", "data.views=0"], {"optim.lr": 0.1, "data.views": 0}),
        (["data.crop_scale=[0.5, 1.0]"], {"data.crop_scale": [0.5, 1.0]}),
    ],
)
def test_overrides_record_differences_from_the_recipe(settings: list[str], overrides: dict[str, Any]) -> None:
    config = make("dapt", "few-shot", "paper", *settings)
    assert (config.recipe, config.overrides) == ("paper", overrides)
    assert list(config.overrides) == list(overrides)


@pytest.mark.parametrize(("shots", "epochs"), [(1, 50), (2, 100), (4, 100), (5, 100), (8, 200), (16, 200), (None, 200)])
def test_epochs_by_shots(shots: int | None, epochs: int) -> None:
    config = make("coop", shots=shots)
    assert config.optim.epochs == epochs
    assert config.overrides == {}


def test_epochs_by_shots_below_the_smallest_entry(tmp_path: Path) -> None:
    (tmp_path / "late.yaml").write_text("optim: {epochs: {4: 7, 8: 9}}\ndata: {shots: 8}\n")
    late = str(tmp_path / "late.yaml")
    assert [make(recipe=late, shots=shots).optim.epochs for shots in (2, 4, None)] == [7, 7, 9]
    assert make("dapt", "few-shot", late, "optim.epochs={8: 5}").optim.epochs == 5


@pytest.mark.parametrize("epochs", ["{}", "{few: 3}", "{1: many}", "[1, 2]"])
def test_epochs_must_be_an_integer_or_a_valid_mapping(epochs: str) -> None:
    with pytest.raises(VLPromptError, match=r"^optim\.epochs must be an integer"):
        make("dapt", "few-shot", None, f"optim.epochs={epochs}")


@pytest.mark.parametrize(
    ("dataset", "lr", "epochs"), [("dtd", 20.0, 100), ("imagenet", 2.0, 50), ("/data/dtd", 20.0, 100)]
)
def test_recipe_set_selects_the_recipe_of_the_dataset(dataset: str, lr: float, epochs: int) -> None:
    config = make("dapt", "few-shot", "dapt/published", source=dataset, shots=2)
    assert config == make("dapt", "few-shot", f"dapt/published/{Path(dataset).name}", source=dataset, shots=2)
    assert (config.optim.lr, config.optim.epochs) == (lr, epochs)
    assert config.recipe == "dapt/published"
    other = make("dapt", "few-shot", "dapt/published/eurosat", source=dataset, shots=2)
    assert other.recipe == "dapt/published/eurosat"


def test_recipe_set_without_the_dataset_is_an_error() -> None:
    with pytest.raises(VLPromptError, match=r"has settings for caltech101, .*not for openmoji; .*published/caltech101"):
        make("dapt", "few-shot", "dapt/published")


@pytest.mark.parametrize(
    "text",
    ["1", "1e-3", "010", "0x1F", "no", "yes", "12:30:45", "2024-01-01", "001:", "{}", "{} texture.", "a photo: {}",
     "a photo of a {} #1", "*{}", "&{}", "!{}", "{}*", "- {}", "a {}, or so.", "'{}", "{} in {brackets}", "@{}",
     "% {}"],
)  # fmt: skip
def test_values_are_text_as_written(text: str) -> None:
    assert read_value(f" {text} ") == text
    assert parse_method(f'coop[template="{text}"]') == ("coop", {"method.template": text})
    if text.count("{}") == 1 and "{b" not in text:
        assert make("coop", "few-shot", None, f"method.template={text}").method.options["template"] == text


def test_values_that_are_not_text() -> None:
    values = (
        "null",
        "~",
        "",
        "[1, 2]",
        "[a photo of a {}., a {}]",
        "['{}, close', \"{}\"]",
        "[]",
        "{1: 50}",
        "'null'",
        '""',
    )
    assert [read_value(text) for text in values] == [
        None, None, None, ["1", "2"], ["a photo of a {}.", "a {}"], ["{}, close", "{}"], [], {"1": "50"}, "null",
        "",
    ]  # fmt: skip


def test_fields_decide_what_text_means() -> None:
    texts = ["method.ctx_init=null", "method.n_ctx=010", "optim.lr=1e-3", "data.flip=no", "data.crop_scale=[0.5, 1]",
             "optim.epochs={1: 5, 4: 7}", "data.split_seed=-3"]  # fmt: skip
    config = make("coop", "few-shot", None, *texts, shots=2)
    assert (config.method.options["ctx_init"], config.method.options["n_ctx"]) == (None, 10)
    assert (config.optim.lr, config.optim.epochs) == (1e-3, 5)
    assert (config.data.flip, config.data.crop_scale, config.data.split_seed) == (False, (0.5, 1.0), -3)
    templates = "method.template=[a photo of a {}., a sketch of a {}]"
    assert make("coop", "few-shot", None, templates).method.options["template"] == [
        "a photo of a {}.",
        "a sketch of a {}",
    ]
    for text in ("method.n_ctx=0x1F", "data.flip=maybe", "optim.epochs=2024-01-01", "data.shots=[1]"):
        with pytest.raises(VLPromptError, match=text.partition("=")[0]):
            make("coop", "few-shot", None, text)


def test_templates_in_a_recipe_are_text(tmp_path: Path) -> None:
    for written, text in {"no {}": "no {}", "{}": "{}", "'a photo: {} #1'": "a photo: {} #1", "[{}]": ["{}"]}.items():
        (tmp_path / "mine.yaml").write_text(f"method:\n  name: coop\n  template: {written}\n  n_ctx: 010\n")
        options = make(None, None, str(tmp_path / "mine.yaml")).method.options
        assert (options["template"], options["n_ctx"]) == (text, 10)


@pytest.mark.parametrize("name", list_recipes())
def test_bundled_recipes_mean_what_yaml_says(name: str) -> None:
    source = {"data": {"source": "openmoji"}}
    ours, guessed = read_recipe(name), yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    for values in (ours, guessed):
        values.setdefault("method", {"name": "coop"})
    both = [with_method_defaults(parse_config({**values, **source})) for values in (ours, guessed)]
    assert both[0] == both[1]


def test_settings_are_read_from_text() -> None:
    assert parse_settings(["optim.lr=0.1", "method.template=a {}, or so."]) == {
        "optim.lr": "0.1",
        "method.template": "a {}, or so.",
    }
    assert parse_settings(["method.ctx_init="]) == {"method.ctx_init": None}
    assert parse_settings(["method.template={name}", "method.ctx_init={a, b}"]) == {
        "method.template": "{name}",
        "method.ctx_init": "{a, b}",
    }
    with pytest.raises(VLPromptError, match=r"`settings` must be KEY=VALUE, such as optim.epochs=20, got 'optim.lr'"):
        parse_settings(["optim.lr"])
    with pytest.raises(VLPromptError, match=r"`settings` optim.lr= has no value; give one, or leave the setting out"):
        parse_settings(["optim.lr="])
    with pytest.raises(VLPromptError, match=r"must be KEY=VALUE, .* got '=3'"):
        parse_settings(["=3"])
    with pytest.raises(VLPromptError, match=r"optim.epochs={1:50} needs a space after each colon"):
        parse_settings(["optim.epochs={1:50}"])


def test_parse_lists() -> None:
    assert split_list("a, b[c=1,d=[2,3]],e") == ["a", "b[c=1,d=[2,3]]", "e"]
    assert split_list('a[b="c, ]",d=1],e') == ['a[b="c, ]",d=1]', "e"]
    assert parse_method('a[b="c, ]",d=1]') == ("a", {"method.b": "c, ]", "method.d": "1"})
    assert parse_numbers("shots", "1,4, 16") == [1, 4, 16]
    with pytest.raises(VLPromptError, match=r"got 'a\[b=\{\}, or so\]'; write a value with commas in double quotes"):
        parse_method("a[b={}, or so]")
    with pytest.raises(VLPromptError, match=r"unclosed bracket or quote in 'a,b\[c=1'"):
        split_list("a,b[c=1")
    with pytest.raises(VLPromptError, match="`seeds` must be integers separated by commas, such as 1,4,16, got '1,x'"):
        parse_numbers("seeds", "1,x")
    with pytest.raises(VLPromptError, match="`targets` must be one or more names separated by commas, got ','"):
        parse_names("targets", ",")


def test_groups_of_targets_are_their_members_but_for_the_source() -> None:
    settings = {"backbone.source": "embedded", "data.source": "pictobench-food", "data.targets": ["dtd", "pictobench"]}
    targets = resolve_config(method="coop", protocol="cross-dataset", settings=settings).data.targets
    assert targets[:3] == ("dtd", "pictobench-animals", "pictobench-travel")
    assert "pictobench-food" not in targets


def test_resolve_config_errors() -> None:
    for recipe in (UNIFIED, None):
        with pytest.raises(VLPromptError, match="unknown method 'cooop'"):
            make("cooop", "few-shot", recipe)
        with pytest.raises(VLPromptError, match=r"protocol must be 'few-shot', 'base-to-new', .* got 'one-shot'"):
            make("coop", "one-shot", recipe)
    with pytest.raises(VLPromptError, match=r"unknown `recipe` 'unifed'; did you mean 'unified'\?"):
        make("coop", recipe="unifed")
    with pytest.raises(VLPromptError, match=r"`recipe` absent.yaml does not exist"):
        make("coop", recipe="absent.yaml")
    with pytest.raises(VLPromptError, match=r"setting data.source is missing"):
        resolve_config(settings={"data.shots": 3})
    with pytest.raises(VLPromptError, match=r"unknown setting seed.x; 'seed' is a value, not a section"):
        make("coop", "few-shot", None, "seed=1", "seed.x=2")


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_resolves_and_starts_with_its_command(name: str) -> None:
    source = name.split("/")[2] if name.count("/") == 2 else "openmoji"
    config = resolve_config(recipe=name, settings={"data.source": source})
    assert config.overrides == {}
    path = Path(__file__).parents[2] / "src" / "vlprompt" / "config" / "recipes" / f"{name}.yaml"
    command, *words = path.read_text().splitlines()
    assert command.startswith("# vlprompt tune DATA ")
    assert words[0].startswith("# ")
