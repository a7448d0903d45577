"""Recipes: YAML files with the settings of a run except its data.

Bundled recipes are in the folder `recipes`: `<method>/<protocol>.yaml`, `unified/<protocol>.yaml`,
`photos/<method>.yaml`, which are for the backbone `photos` and every protocol, and sets with one file per dataset,
`<method>/<set>/<dataset>.yaml`.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import did_you_mean, one_line
from vlprompt.utils.text_files import parse_yaml_settings, read_text

FOLDER = Path(str(files("vlprompt.config"))) / "recipes"
UNIFIED, PAPER, PHOTOS = "unified", "paper", "photos"


def list_recipes() -> list[str]:
    """Return the names of the bundled recipes, sorted.

    Examples:
        >>> "dapt/few-shot" in list_recipes()
        True
    """
    return list(_bundled())


@cache
def _bundled() -> tuple[str, ...]:
    # Kept, since every cell of a grid asks several times.
    return tuple(sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml")))


def recipe_for(name: str, dataset: str) -> str:
    """Return the recipe for a dataset if `name` is a set of them, such as "dapt/published"; otherwise `name` itself.

    Raises:
        VLPromptError: the set has no recipe for the dataset.
    """
    datasets = recipe_sets().get(name, [])
    if datasets and dataset not in datasets:
        raise VLPromptError(
            f"`recipe` {name} has settings for {', '.join(datasets)}, but not for {dataset}; "
            f"choose the recipe of one dataset, such as `recipe` {name}/{datasets[0]}"
        )
    return f"{name}/{dataset}" if datasets else name


def photos_recipe(method: str) -> str | None:
    """Return the name of a method's recipe for the backbone `photos`; None if it has none."""
    return name if (name := f"{PHOTOS}/{method}") in list_recipes() else None


@cache
def recipe_sets() -> dict[str, list[str]]:
    """Return the datasets of each set of recipes, by the set's name."""
    sets: dict[str, list[str]] = {}
    for name, _, dataset in (recipe.rpartition("/") for recipe in list_recipes() if recipe.count("/") == 2):
        sets.setdefault(name, []).append(dataset)
    return sets


def read_recipe(name: str) -> dict[str, Any]:
    """Read the settings of a bundled recipe by name, or of a .yaml file by path.

    Raises:
        VLPromptError: the recipe or file does not exist, or is not a mapping of sections.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise VLPromptError(f"`recipe` {name} does not exist; give a recipe's name or the path of a .yaml file")
    else:
        if name not in list_recipes():
            hint = did_you_mean(name, [UNIFIED, PAPER, PHOTOS, *recipe_sets(), *list_recipes()])
            raise VLPromptError(
                f"unknown `recipe` {name!r}; {hint or 'give a .yaml file, or a name from list_recipes()'}"
            )
        path = FOLDER / f"{name}.yaml"
    try:
        values = parse_yaml_settings(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VLPromptError(f"`recipe` {name} is not valid YAML: {one_line(error)}") from error
    except OSError as error:
        raise VLPromptError(f"`recipe` {name} cannot be read: {error.strerror}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise VLPromptError(
            f"`recipe` {name} must be a YAML mapping of sections (backbone, method, data, optim, runtime), got "
            f"{type(values).__name__}"
        )
    return values
