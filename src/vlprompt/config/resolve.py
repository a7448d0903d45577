"""Resolve a method, a protocol, a recipe and dotted settings to the configuration of a run.

The command line, `vlprompt.tune` and grids all build their `RunConfig` with `resolve_config`. Parsing settings does not
import torch; resolving them does, since it needs the methods.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from vlprompt.backbones.sources.automatic import AUTO, concrete_source
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.recipes import (
    PAPER,
    PHOTOS,
    UNIFIED,
    list_recipes,
    photos_recipe,
    read_recipe,
    recipe_for,
    recipe_sets,
)
from vlprompt.config.schema import AUGMENTATION, MethodConfig, RunConfig, check_storable, parse_config
from vlprompt.errors import VLPromptError
from vlprompt.utils.text_files import NULLS, parse_yaml_settings

DEFAULT_METHOD, DEFAULT_PROTOCOL = "dapt", "few-shot"
# Default methods of backbones that cannot carry that one as its paper has it, by the backbone's name.
DEFAULT_METHODS = {PHOTOS: "coop"}


def resolve_config(
    *,
    method: str | None = None,
    protocol: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any],
) -> RunConfig:
    """Resolve a recipe and settings to the configuration of a run.

    Settings override the recipe. Method options are validated and their defaults filled in, except for the template,
    which defaults to the dataset's.

    Args:
        method: name of the method; by default the recipe's, else "dapt", or "coop" on the backbone `photos`.
        protocol: name of the protocol; by default the recipe's, else "few-shot".
        recipe: "paper" for the method's own recipe for the protocol, or its fallback (see `Protocol.recipes`);
            "photos" for its recipe for the backbone `photos`; None for "photos" on that backbone if the method has such
            a recipe, else "paper"; "unified"; the name of another recipe or of a set with one per dataset, such as
            "dapt/published"; or a .yaml file. A recipe without a method is merged into the method's own one whole
            section at a time, so its `optim` replaces the method's `optim`.
        settings: values by dotted key, such as `{"data.source": "openmoji", "optim.epochs": 20}`. None means "not
            given", except for options of the method (`{"method.ctx_init": None}`).

    Returns:
        the validated configuration, with the recipe's name and the settings that differ from it recorded.

    Raises:
        VLPromptError: an unknown method, protocol, recipe, setting or option, or an invalid value.

    Examples:
        >>> settings = {"backbone.source": "embedded", "data.source": "openmoji", "optim.epochs": 20}
        >>> config = resolve_config(method="coop", settings=settings)
        >>> config.method.options["n_ctx"], config.optim.epochs, config.recipe, config.overrides
        (16, 20, 'paper', {'optim.epochs': 20})
    """
    given = {key: value for key, value in settings.items() if value is not None or key.startswith("method.")}
    method, protocol = given.pop("method.name", method), given.pop("protocol", protocol)
    recipe = given.pop("recipe", recipe)
    if "optim.epochs" in given:
        given.setdefault("optim.min_steps", 0)  # epochs that were asked for are not raised
    dataset = Path(str(given.get("data.source", ""))).name
    recipe = None if recipe is None else recipe_for(recipe, dataset)
    backbone = _named_backbone(recipe, given)
    recipe, values = _recipe_values(method, protocol, recipe, concrete_source(backbone))
    config = _config(values, given)
    bare = _config(
        values,
        {
            "backbone.source": config.backbone.source,
            "data.source": config.data.source,
            "data.shots": config.data.shots,
        },
    )
    name = _recipe_name(recipe, config)
    return config.model_copy(update={"recipe": name, "overrides": _differences(config, bare)})


def with_method_defaults(config: RunConfig) -> RunConfig:
    """Validate the method's options and fill in its defaults, except for the template, which defaults to the
    dataset's. Idempotent, so that a run has the same hash however it was configured.

    Raises:
        VLPromptError: an unknown method or option, or an invalid value.
    """
    from vlprompt.methods.create import method_options  # here, since it imports torch

    name, given = config.method.name, config.method.options
    validated = method_options(name, given)
    check_storable(validated, "method")
    every = validated.model_dump()
    options = {key: every[key] for key in every if key in given or key != "template"}
    return config.model_copy(update={"method": MethodConfig(name=name, **options)})


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Read settings written as KEY=VALUE, with values as `read_value` reads them.

    Raises:
        VLPromptError: a text is not KEY=VALUE, or its value is empty.

    Examples:
        >>> parse_settings(["optim.epochs=20", "method.ctx_init=null"])
        {'optim.epochs': '20', 'method.ctx_init': None}
    """
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise VLPromptError(f"`settings` must be KEY=VALUE, such as optim.epochs=20, got {text!r}")
        settings[key] = parsed = read_value(value)
        if parsed is None and not key.startswith("method."):
            raise VLPromptError(f"`settings` {text} has no value; give one, or leave the setting out")
        if isinstance(parsed, dict) and None in parsed.values():  # YAML reads {1:50} as {110: null}
            raise VLPromptError(f"`settings` {text} needs a space after each colon, such as {{1: 50, 8: 200}}")
    return settings


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """Parse a method with options in brackets into its name and the options as dotted settings.

    Raises:
        VLPromptError: the text is not NAME or NAME[KEY=VALUE,KEY=VALUE].

    Examples:
        >>> parse_method("dapt[beta_text=0,n_text=8]")
        ('dapt', {'method.beta_text': '0', 'method.n_text': '8'})
    """
    found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text, re.DOTALL)
    if found is None:
        raise VLPromptError(f"`methods` must be NAME or NAME[KEY=VALUE,KEY=VALUE], got {text!r}")
    options = {}
    for option in split_list(found[2] or ""):
        key, equals, value = option.partition("=")
        if not equals:
            raise VLPromptError(
                f"`methods` must be NAME or NAME[KEY=VALUE,KEY=VALUE], got {text!r}; write a value with commas "
                "in double quotes"
            )
        options[f"method.{key.strip()}"] = read_value(value)
    return found[1].strip(), options


def split_list(text: str) -> list[str]:
    """Split at commas, except those inside brackets or double quotes.

    Raises:
        VLPromptError: a bracket or quote is not closed.

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
        raise VLPromptError(f"unclosed bracket or quote in {text!r}; write NAME[KEY=VALUE,KEY=VALUE]")
    return [part.strip() for part in parts if part.strip()]


def parse_names(parameter: str, text: str) -> list[str]:
    """Parse names separated by commas, such as "coop,dapt[n_text=8]"; an error names the parameter.

    Raises:
        VLPromptError: there are no names, or a bracket or quote is not closed.
    """
    if names := split_list(text):
        return names
    raise VLPromptError(f"`{parameter}` must be one or more names separated by commas, got {text!r}")


def parse_numbers(parameter: str, text: str) -> list[int]:
    """Parse integers separated by commas, such as "1,4,16"; an error names the parameter.

    Raises:
        VLPromptError: there are no numbers, or one is not an integer.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise VLPromptError(f"`{parameter}` must be integers separated by commas, such as 1,4,16, got {text!r}")
    return numbers


def read_value(text: str) -> Any:
    """Read a value from the command line: text, None for `null`, or a list or mapping in YAML.

    Text is not interpreted; the setting's field decides whether it is a number, a boolean or text. In quotes it may be
    anything. A list may hold templates without quotes, which YAML does not allow.

    Examples:
        >>> [read_value(text) for text in ("1e-3", "no", "a photo: {} #1", "null", '"null"')]
        ['1e-3', 'no', 'a photo: {} #1', None, 'null']
        >>> read_value("[a photo of a {}., a sketch of a {}]"), read_value("{1: 50, 8: 200}")
        (['a photo of a {}.', 'a sketch of a {}'], {'1': '50', '8': '200'})
    """
    text = text.strip()
    if text in NULLS:
        return None
    is_text = text[0] == "{" and ":" not in text  # `{}` is a template, and `{name}` was meant to be one
    if is_text or text[0] + text[-1] not in ("[]", "{}", '""', "''"):
        return text
    try:
        return parse_yaml_settings(text) or ([] if text[0] == "[" else "")
    except (yaml.YAMLError, ValueError, RecursionError):
        return [read_value(part) for part in split_list(text[1:-1])] if text[0] == "[" else text


def names_backbone(*, recipe: str | None = None, settings: Mapping[str, Any]) -> bool:
    """Return whether the settings or the recipe name a backbone, so that it is not "auto" that chooses it.

    Args:
        recipe: as in `resolve_config`.
        settings: as in `resolve_config`.

    Examples:
        >>> names_backbone(settings={"data.source": "openmoji", "backbone.source": None})
        False
    """
    given = {key: value for key, value in settings.items() if value is not None}
    return _named_backbone(given.get("recipe", recipe), given) != AUTO


def _named_backbone(recipe: str | None, settings: Mapping[str, Any]) -> str:
    """Return the source of the backbone that the settings or else the recipe name, or "auto"."""
    named = settings.get("backbone.source")
    bundled = (PAPER, UNIFIED, PHOTOS, *recipe_sets())
    if named is None and recipe is not None and recipe not in bundled:
        section = read_recipe(recipe).get("backbone")
        named = section.get("source") if isinstance(section, dict) else None
    return AUTO if named is None else str(named)


def _recipe_values(
    method: str | None, protocol: str | None, recipe: str | None, backbone: str
) -> tuple[str, dict[str, Any]]:
    """Return a recipe's name and its nested settings for the method, protocol and backbone."""
    usual = method or DEFAULT_METHODS.get(backbone, DEFAULT_METHOD)
    own = PHOTOS if backbone == PHOTOS and photos_recipe(usual) else PAPER
    recipe = recipe or own
    if recipe in (PAPER, PHOTOS, UNIFIED):
        protocol = protocol or DEFAULT_PROTOCOL
        values = _own_recipe(own if recipe == UNIFIED else recipe, usual, protocol)
        shared = _closest_recipe(UNIFIED, protocol) if recipe == UNIFIED else None
        return recipe, {**values, **(read_recipe(shared) if shared else {}), "protocol": protocol}
    values = read_recipe(recipe)
    for label in ("recipe", "overrides"):  # a resolved configuration can be given as a recipe
        values.pop(label, None)
    if protocol is not None:
        values["protocol"] = protocol
    if "method" not in values:
        return recipe, {**_own_recipe(own, usual, values.get("protocol", DEFAULT_PROTOCOL)), **values}
    named = values["method"].get("name") if isinstance(values["method"], dict) else None
    if named is None:
        raise VLPromptError(f"`recipe` {recipe} has a method section without a name; add method.name, or remove it")
    if method not in (None, named):
        raise VLPromptError(f"`recipe` {recipe} is for `method` {named}, got {method}; leave one of the two out")
    return recipe, values


def _own_recipe(kind: str, method: str, protocol: str) -> dict[str, Any]:
    """Return the settings of a method's recipe of the kind "paper" or "photos"."""
    name = photos_recipe(method) if kind == PHOTOS else _closest_recipe(method, protocol)
    if kind == PHOTOS and name is None:
        known = [recipe.partition("/")[2] for recipe in list_recipes() if recipe.startswith(f"{PHOTOS}/")]
        raise VLPromptError(f"`recipe` {PHOTOS} has settings for {', '.join(known)}, but not for {method}; use {PAPER}")
    return {**(read_recipe(name) if name else {"method": {"name": method}}), "protocol": protocol}


def _closest_recipe(owner: str, protocol: str) -> str | None:
    """Return the name of the owner's recipe for the protocol, or its first fallback."""
    recipes, wanted = list_recipes(), PROTOCOLS[protocol].recipes if protocol in PROTOCOLS else ()
    return next((name for name in (f"{owner}/{part}" for part in wanted) if name in recipes), None)


def _recipe_name(recipe: str, config: RunConfig) -> str:
    """Return the canonical name of a recipe, for the record; a file loses its folder."""
    if recipe == photos_recipe(config.method.name):
        return PHOTOS
    for name, owner in ((PAPER, config.method.name), (UNIFIED, UNIFIED)):
        if recipe == _closest_recipe(owner, config.protocol):
            return name
    collection, _, dataset = recipe.rpartition("/")
    if dataset == Path(config.data.source).name and dataset in recipe_sets().get(collection, []):
        return collection
    return Path(recipe).name if recipe.endswith((".yaml", ".yml")) else recipe


def _config(values: dict[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """Apply settings to nested values and validate the result."""
    values = deepcopy(values)
    for key, value in settings.items():
        _put(values, key, value)
    return with_method_defaults(_with_members(parse_config(values)))


def _with_members(config: RunConfig) -> RunConfig:
    """Replace groups among the targets by their members, except for the source."""
    data = config.data
    if not data.targets:
        return config
    from vlprompt.data.loading import expand_groups  # here, since it imports the readers

    targets = [name for name in expand_groups(data.targets) if name != data.source or name in data.targets]
    return config.model_copy(update={"data": data.model_copy(update={"targets": tuple(targets)})})


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key in nested values."""
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
