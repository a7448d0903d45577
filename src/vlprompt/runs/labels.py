"""Labels of runs in tables, derived from the recorded recipe and overrides."""

import json
from typing import Any

from vlprompt.config.schema import AUGMENTATION, DataConfig, OptimConfig, RunConfig


def method_label(config: RunConfig, usual_template: str | list[str] | None = None) -> str:
    """Return the method's name, followed by the options that differ from its recipe: "dapt[beta_text=0]".

    Without a recorded recipe all options are listed, so that different runs never share a label.

    Args:
        config: configuration of the run.
        usual_template: default template of the dataset, which is not listed.

    Examples:
        >>> settings = {"method": {"name": "coop", "n_ctx": 4}, "data": {"source": "openmoji"}}
        >>> method_label(RunConfig(**settings, recipe="paper", overrides={"method.n_ctx": 4}))
        'coop[n_ctx=4]'
    """
    options = {
        key: value
        for key, value in config.method.options.items()
        if config.recipe is None or f"method.{key}" in config.overrides
    }
    if usual_template is not None and options.get("template") == usual_template:
        del options["template"]
    listed = ",".join(f"{key}={shown(value)}" for key, value in options.items())
    return config.method.name + (f"[{listed}]" if listed else "")


def recipe_label(config: RunConfig) -> str:
    """Return the recipe's name and the settings that differ from it: "unified, optim.epochs=1".

    Without a recorded recipe: "not recorded", and the settings that differ from the defaults of the schema.
    """
    if config.recipe is None:
        changes = _non_defaults(config)
    else:
        changes = {key: value for key, value in config.overrides.items() if not key.startswith("method.")}
    return ", ".join([config.recipe or "not recorded", *(f"{key}={shown(value)}" for key, value in changes.items())])


def shown(value: Any) -> str:
    """Format a value as in a setting: text unquoted where possible, everything else as JSON."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and not set(value) & set(',[]"') else json.dumps(value)


def _non_defaults(config: RunConfig) -> dict[str, Any]:
    sections = (("optim", config.optim, OptimConfig.model_fields), ("data", config.data, DataConfig.model_fields))
    return {
        f"{name}.{key}": getattr(section, key)
        for name, section, fields in sections
        for key in fields
        if (name == "optim" or key in AUGMENTATION) and getattr(section, key) != fields[key].default
    }
