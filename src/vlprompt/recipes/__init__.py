"""The recipes that ship with the package: `<method>/<protocol>.yaml`, each a run without its data."""

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from vlprompt.errors import VLPromptError


def list_recipes() -> list[str]:
    """Names of the recipes that ship, such as "dapt/few-shot"."""
    root = Path(str(files(__package__)))
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


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
            close = difflib.get_close_matches(name, list_recipes(), n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise VLPromptError(
                f"--recipe {name}: {hint}have: {', '.join(list_recipes())}, or the path of a .yaml file"
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
