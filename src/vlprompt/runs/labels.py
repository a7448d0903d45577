"""Names of methods and recipes in tables and plots, from the recipe and the overrides that a run records."""

import json
from typing import Any

from vlprompt.config.schema import RunConfig

NOT_RECORDED = "recipe not recorded"


def method_label(config: RunConfig, usual_template: str | list[str] | None = None) -> str:
    """Return the method's name with the options that differ from its recipe's: "dapt[beta_text=0]".

    Args:
        config: The run's configuration.
        usual_template: The dataset's own template, which is not shown.
    """
    options = {
        key.removeprefix("method."): value
        for key, value in getattr(config, "overrides", {}).items()
        if key.startswith("method.")
    }
    if options.get("template") == usual_template:
        options.pop("template", None)
    shown = ",".join(f"{key}={as_setting(value)}" for key, value in options.items())
    return config.method.name + (f"[{shown}]" if shown else "")


def recipe_label(config: RunConfig) -> str:
    """Return the recipe's name with the optimizer and image settings that differ from it: "unified, optim.epochs=1"."""
    changes = [
        f"{key}={as_setting(value)}"
        for key, value in getattr(config, "overrides", {}).items()
        if not key.startswith("method.")
    ]
    return ", ".join([getattr(config, "recipe", None) or NOT_RECORDED, *changes])


def as_setting(value: Any) -> str:
    """Return a value as `--set` and `--methods` take it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and not set(value) & set(',[]"') else json.dumps(value)
