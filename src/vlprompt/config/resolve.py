"""Where a run's settings come from (a recipe, options, `--set`), and what a run is called by those it ended with."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import list_recipes, read_recipe, recipe_for, recipe_sets
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS

UNIFIED, PAPER = "unified", "paper"
METHOD, PROTOCOL = "dapt", "few-shot"

# What a recipe says of the data; the rest of that section is which images they are.
AUGMENTATION = ("crop_scale", "flip", "views")


def resolve(
    method: str | None, protocol: str | None, recipe: str | None, flags: dict[str, Any], settings: list[str]
) -> dict[str, Any]:
    """A run's values: the recipe, then flags that were given, then `--set`.

    Args:
        method: its name; None is that of a recipe that names one, else "dapt".
        protocol: its name; None is the recipe's, else "few-shot".
        recipe: None or "paper" for METHOD/PROTOCOL, or what stands in for it (`Protocol.recipes`); "unified", the name
            of another or of a set with one for each dataset ("dapt/published"), or a .yaml file. One without a method
            is laid over the method's own, section by section, so that nothing of the own `optim` stays.
        flags: values by dotted key; None is not given.
        settings: KEY=VALUE, as `--set` takes them.
    """
    if recipe in (None, PAPER):
        values = _own_recipe(method or METHOD, protocol or PROTOCOL)
    else:
        values = _laid_over(method, protocol, recipe_for(str(recipe), Path(flags.get("data.source") or "").name))
    for key, value in flags.items():
        if value is not None:
            put(values, key, value)
    put_settings(values, settings)
    return values


def resolve_config(
    *,
    method: str | None = None,
    protocol: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any],
) -> RunConfig:
    """Resolve a recipe and settings by dotted key into a run (stand-in of this branch; the parcel CONFIG owns it)."""
    flags = {"data.class_names" if key == "data.name_map" else key: value for key, value in settings.items()}
    return parse_config(resolve(method, protocol, recipe, flags, []))


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE strings into values by dotted key (stand-in of this branch; the parcel CONFIG owns it)."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise VLPromptError(f"`settings` {setting}: write it as KEY=VALUE, such as optim.epochs=20")
        values[key] = read_value(text)
    return values


def put_settings(values: dict[str, Any], settings: list[str]) -> None:
    """Put every KEY=VALUE of `--set` into nested values."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise VLPromptError(f"--set {setting}: write it as KEY=VALUE, such as --set optim.epochs=20")
        put(values, key, read_value(text))


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Put one value under a dotted key into nested values."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise VLPromptError(f"--set {key}: {section!r} is a value, not a section")
    values[last] = value


def read_value(text: str) -> Any:
    """A value as YAML reads it, or the text itself where that is not YAML, as "{} texture." is not."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date of month 13 is a ValueError
        return text


def method_label(config: RunConfig, usual_template: str | list[str] | None = None) -> str:
    """The method's name, with those options in brackets that are not its recipe's: "dapt[beta_text=0]".

    Args:
        config: of the run.
        usual_template: the dataset's own, which is not worth a mention.
    """
    own = _options(config, _nearest(config)[0], usual_template)
    return config.method.name + (f"[{','.join(own)}]" if own else "")


def recipe_labels(config: RunConfig) -> list[str]:
    """The recipe that the optimizer and the images were set by, with what was changed: "unified, optim.epochs=1".

    It is found by comparing: a name kept in the record could say what the settings do not. The nearest one counts;
    where several are as near, all of them.
    """
    return [", ".join([recipe, *_changes(config, recipe)]) for recipe in _nearest(config)]


def _nearest(config: RunConfig) -> list[str]:
    recipes = [PAPER, UNIFIED, *recipe_sets(config.method.name, Path(config.data.source).name)]
    far = {recipe: len(_changes(config, recipe)) + len(_options(config, recipe)) for recipe in recipes}
    return [recipe for recipe in recipes if far[recipe] == min(far.values())]


def _options(config: RunConfig, recipe: str, usual_template: str | list[str] | None = None) -> list[str]:
    usual = {"template": usual_template, **_usual(config, recipe).method.options}
    return [f"{key}={shown(value)}" for key, value in config.method.options.items() if value != usual.get(key)]


def _changes(config: RunConfig, recipe: str) -> list[str]:
    usual = _usual(config, recipe)
    return [
        f"{section}.{key}={shown(value)}"
        for section, keys in (("optim", tuple(type(config.optim).model_fields)), ("data", AUGMENTATION))
        for key in keys
        if (value := getattr(getattr(config, section), key)) != getattr(getattr(usual, section), key)
    ]


def shown(value: Any) -> str:
    """A value as `--set` and `--methods` take it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and not set(value) & set(',[]"') else json.dumps(value)


def _own_recipe(method: str, protocol: str) -> dict[str, Any]:
    METHODS.get(method)
    name = _recipe_name(method, protocol)
    return {**(read_recipe(name) if name else {"method": {"name": method}}), "protocol": protocol}


def _laid_over(method: str | None, protocol: str | None, recipe: str) -> dict[str, Any]:
    if recipe == UNIFIED:
        method, protocol = method or METHOD, protocol or PROTOCOL
        name = _recipe_name(UNIFIED, protocol)
        return {**_own_recipe(method, protocol), **(read_recipe(name) if name else {}), "protocol": protocol}
    values = read_recipe(recipe)
    if protocol is not None:
        values["protocol"] = protocol
    if "method" not in values:
        return {**_own_recipe(method or METHOD, values.get("protocol", PROTOCOL)), **values}
    named = values["method"].get("name") if isinstance(values["method"], dict) else None
    if named is None:
        raise VLPromptError(f"--recipe {recipe}: its section `method` has no `name`; add one, or leave the section out")
    if method not in (None, named):
        raise VLPromptError(f"--recipe {recipe} is for method {named}, not for {method}; leave out one of the two")
    return values


def _recipe_name(owner: str, protocol: str) -> str | None:
    """The recipe for the protocol, or the first of those that stand in for it."""
    recipes, wanted = list_recipes(), PROTOCOLS[protocol].recipes if protocol in PROTOCOLS else ()
    return next((name for name in (f"{owner}/{part}" for part in wanted) if name in recipes), None)


def _usual(config: RunConfig, recipe: str) -> RunConfig:
    data = config.data
    return _reference(config.method.name, config.protocol, recipe, data.source, data.shots)


@cache
def _reference(method: str, protocol: str, recipe: str, source: str, shots: int) -> RunConfig:
    """What a run with nothing but that recipe would be."""
    return parse_config(resolve(method, protocol, recipe, {"data.source": source, "data.shots": shots}, []))
