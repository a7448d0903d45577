"""The recipes that ship with the package: `<method>/<protocol>.yaml`, each a run without its data."""

import difflib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from vlprompt.errors import VLPromptError


def list_recipes() -> list[str]:
    """Names of the recipes that ship, such as "dapt/few-shot"."""
    root = Path(str(files(__package__)))
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def recipe_for(name: str, dataset: str) -> str:
    """The recipe for a dataset, where `name` is that of a set of them, such as "dapt/published"; else `name` itself.

    Raises:
        VLPromptError: the set has none for that dataset.
    """
    datasets = _sets().get(name, [])
    if datasets and dataset not in datasets:
        raise VLPromptError(
            f"--recipe {name} has settings for {', '.join(datasets)}, not for {dataset}; "
            f"take those of one of them, such as --recipe {name}/{datasets[0]}"
        )
    return f"{name}/{dataset}" if datasets else name


def recipe_sets(method: str, dataset: str) -> list[str]:
    """Names of the method's sets that have a recipe for the dataset."""
    return [name for name, datasets in _sets().items() if name.startswith(f"{method}/") and dataset in datasets]


@cache
def _sets() -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for name, _, dataset in (recipe.rpartition("/") for recipe in list_recipes() if recipe.count("/") == 2):
        sets.setdefault(name, []).append(dataset)
    return sets


def read_recipe(name: str) -> dict[str, Any]:
    """A recipe that ships, by name, or one of the user's, by the path of a .yaml file.

    Raises:
        VLPromptError: no such recipe or file, or one that is not a mapping.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise VLPromptError(f"--recipe {name}: there is no such file")
    else:
        if name not in list_recipes():
            close = difflib.get_close_matches(name, ["unified", "paper", *_sets(), *list_recipes()], n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise VLPromptError(
                f"--recipe {name}: {hint}`vlprompt list recipes` has the names; or give the path of a .yaml file"
            )
        path = Path(str(files(__package__) / f"{name}.yaml"))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VLPromptError(f"--recipe {name} is not YAML: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise VLPromptError(f"--recipe {name} cannot be read: {error.strerror}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise VLPromptError(f"--recipe {name} is not a mapping of sections (backbone, method, data, optim, runtime)")
    return values
