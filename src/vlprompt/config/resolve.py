"""Resolve a method, a protocol, a recipe and dotted settings to the configuration of a run.

`resolve_config` is the one way from what a user says to a `RunConfig`: the command line, `vlprompt.tune` and grids call
it. Reading settings from text needs no torch; only resolving them imports the methods.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import PAPER, UNIFIED, list_recipes, read_recipe, recipe_for, recipe_sets
from vlprompt.config.schema import AUGMENTATION, MethodConfig, RunConfig, check_storable, parse_config
from vlprompt.errors import VLPromptError

DEFAULT_METHOD, DEFAULT_PROTOCOL = "dapt", "few-shot"


def resolve_config(
    *,
    method: str | None = None,
    protocol: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any],
) -> RunConfig:
    """Resolve a recipe and settings to the configuration of a run.

    Settings override the recipe. Options of the method are validated here, once, and its defaults filled in; only the
    template stays open, for the dataset's own.

    Args:
        method: name of the method; by default the recipe's, else "dapt".
        protocol: name of the protocol; by default the recipe's, else "few-shot".
        recipe: None or "paper" for the method's own recipe for the protocol, or the one that stands in for it (see
            `Protocol.recipes`); "unified"; the name of another recipe or of a set with one per dataset, such as
            "dapt/published"; or a .yaml file. A recipe without a method is laid over the method's own, section by
            section: it replaces the whole section `optim`.
        settings: values by dotted key, such as `{"data.source": "openmoji", "optim.epochs": 20}`. None means "not
            given", except for options of the method (`{"method.ctx_init": None}`).

    Returns:
        the validated configuration, with the recipe's name and the settings that differ from it recorded.

    Raises:
        VLPromptError: an unknown method, protocol, recipe, setting or option, or an invalid value.

    Examples:
        >>> config = resolve_config(method="coop", settings={"data.source": "openmoji", "optim.epochs": 20})
        >>> config.method.options["n_ctx"], config.optim.epochs, config.recipe, config.overrides
        (16, 20, 'paper', {'optim.epochs': 20})
    """
    given = {key: value for key, value in settings.items() if value is not None or key.startswith("method.")}
    method, protocol = given.pop("method.name", method), given.pop("protocol", protocol)
    recipe = given.pop("recipe", recipe) or PAPER
    dataset = Path(str(given.get("data.source", ""))).name
    values = _recipe_values(method, protocol, recipe_for(recipe, dataset))
    config = _config(values, given)
    bare = _config(values, {"data.source": config.data.source, "data.shots": config.data.shots})
    name = _recipe_name(recipe, config)
    return config.model_copy(update={"recipe": name, "overrides": _differences(config, bare)})


def with_method_defaults(config: RunConfig) -> RunConfig:
    """Validate the method's options and fill in its defaults, except for the template, which is the dataset's own.

    Does not change a configuration that was resolved before, so that a run has one hash, however it was configured.

    Raises:
        VLPromptError: an unknown method or option, or an invalid value.
    """
    from vlprompt.methods.create import method_options  # here, so that reading settings from text takes no torch

    name, given = config.method.name, config.method.options
    validated = method_options(name, given)
    check_storable(validated)
    every = validated.model_dump()
    options = {key: every[key] for key in every if key in given or key != "template"}
    return config.model_copy(update={"method": MethodConfig(name=name, **options)})


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Read settings written as KEY=VALUE, with values in YAML.

    A value that is not YAML is taken as text, such as "{} texture." for a template.

    Examples:
        >>> parse_settings(["optim.epochs=20", "method.ctx_init=null"])
        {'optim.epochs': 20, 'method.ctx_init': None}
    """
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise VLPromptError(f"{text}: write settings as KEY=VALUE, such as optim.epochs=20")
        settings[key] = read_value(value)
        if settings[key] is None and not key.startswith("method."):
            raise VLPromptError(f"{text}: give a value, or leave the setting out")
    return settings


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """Read a method with options in brackets; return its name, and the options as dotted settings.

    Examples:
        >>> parse_method("dapt[beta_text=0,n_text=8]")
        ('dapt', {'method.beta_text': 0, 'method.n_text': 8})
    """
    found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text, re.DOTALL)
    if found is None:
        raise VLPromptError(f"`methods` {text}: write NAME or NAME[KEY=VALUE,KEY=VALUE]")
    options = {}
    for option in split_list(found[2] or ""):
        key, equals, value = option.partition("=")
        if not equals:
            raise VLPromptError(f"`methods` {text}: write options as NAME[KEY=VALUE,KEY=VALUE]")
        options[f"method.{key.strip()}"] = read_value(value)
    return found[1].strip(), options


def split_list(text: str) -> list[str]:
    """Split at commas, except those inside brackets or double quotes.

    Examples:
        >>> split_list("coop,dapt[beta_text=0,n_text=8]")
        ['coop', 'dapt[beta_text=0,n_text=8]']
    """
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "[") - (character == "]")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if depth or quoted:
        raise VLPromptError(f"{text}: a bracket or quote is not closed; write NAME[KEY=VALUE,KEY=VALUE]")
    return [part.strip() for part in parts if part.strip()]


def parse_numbers(parameter: str, text: str) -> list[int]:
    """Read a list of integers such as "1,4,16"; an error names the parameter."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise VLPromptError(
            f"`{parameter}` must be integers separated by commas, such as 1,4,16, got {text}"
        ) from error


def read_value(text: str) -> Any:
    """Read a value as YAML, or return the text if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date of month 13 is a ValueError
        return text


def _recipe_values(method: str | None, protocol: str | None, recipe: str) -> dict[str, Any]:
    """Return the nested settings of a recipe for the method and the protocol."""
    if recipe in (PAPER, UNIFIED):
        method, protocol = method or DEFAULT_METHOD, protocol or DEFAULT_PROTOCOL
        values = _own_recipe(method, protocol)
        shared = _closest_recipe(UNIFIED, protocol) if recipe == UNIFIED else None
        return {**values, **(read_recipe(shared) if shared else {}), "protocol": protocol}
    values = read_recipe(recipe)
    for label in ("recipe", "overrides"):  # a resolved configuration can be given as a recipe
        values.pop(label, None)
    if protocol is not None:
        values["protocol"] = protocol
    if "method" not in values:
        return {**_own_recipe(method or DEFAULT_METHOD, values.get("protocol", DEFAULT_PROTOCOL)), **values}
    named = values["method"].get("name") if isinstance(values["method"], dict) else None
    if named is None:
        raise VLPromptError(f"`recipe` {recipe} has a section `method` without a `name`; add it, or drop the section")
    if method not in (None, named):
        raise VLPromptError(f"`recipe` {recipe} is for `method` {named}, got {method}; leave one of the two out")
    return values


def _own_recipe(method: str, protocol: str) -> dict[str, Any]:
    name = _closest_recipe(method, protocol)
    return {**(read_recipe(name) if name else {"method": {"name": method}}), "protocol": protocol}


def _closest_recipe(owner: str, protocol: str) -> str | None:
    """Return the name of the owner's recipe for the protocol, or the first that stands in for it."""
    recipes, wanted = list_recipes(), PROTOCOLS[protocol].recipes if protocol in PROTOCOLS else ()
    return next((name for name in (f"{owner}/{part}" for part in wanted) if name in recipes), None)


def _recipe_name(recipe: str, config: RunConfig) -> str:
    """Return the name to record: one name for one recipe, however it was given, and a file's name without its path."""
    for name, owner in ((PAPER, config.method.name), (UNIFIED, UNIFIED)):
        if recipe == _closest_recipe(owner, config.protocol):
            return name
    collection, _, dataset = recipe.rpartition("/")
    if dataset == Path(config.data.source).name and dataset in recipe_sets().get(collection, []):
        return collection
    return Path(recipe).name if recipe.endswith((".yaml", ".yml")) else recipe


def _config(values: dict[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """Put settings over nested values and validate all of it."""
    values = deepcopy(values)
    for key, value in settings.items():
        _put(values, key, value)
    return with_method_defaults(parse_config(values))


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key into nested values."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise VLPromptError(f"unknown setting {key}; {section!r} is a value, not a section")
    values[last] = value


def _differences(config: RunConfig, bare: RunConfig) -> dict[str, Any]:
    """Return the settings that differ from those of the bare recipe and change the result, by dotted key."""
    ours, theirs = config.model_dump(mode="json"), bare.model_dump(mode="json")
    if config.method.name != bare.method.name:
        theirs["method"] = {}
    keys = [("method", key) for key in config.method.options]
    keys += [("optim", key) for key in ours["optim"]] + [("data", key) for key in AUGMENTATION]
    absent = object()
    return {
        f"{section}.{key}": ours[section][key]
        for section, key in keys
        if ours[section][key] != theirs[section].get(key, absent)
    }
