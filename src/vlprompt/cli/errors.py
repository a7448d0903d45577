"""Error messages for the command line: parameters become flags, and every message is one line."""

import re
from collections.abc import Mapping
from typing import Any

import typer

# typer vendors click or depends on it, depending on its version; this is click's UsageError in both cases.
UsageError: Any = typer.BadParameter.__base__

# Python parameters whose option or argument has another name, with the names to try.
ALIASES = {
    "settings": ("set_",),
    "options": ("set_",),
    "source": ("data", "datasets"),
    "data": ("datasets",),
    "method": ("methods",),
    "seed": ("seeds",),
    "name_map": ("class_names",),
    "format": ("form",),
    "editable": ("allow_edit",),
}

_QUOTED = re.compile(r"`([A-Za-z_][\w.]*)(?:=([^`]*))?`")


def flags_of(command: Any) -> dict[str, str]:
    """Return the flag of each Python parameter in a command, such as `--out`, or `DATA` for an argument."""
    flags = {}
    for param in command.params:
        is_option = param.param_type_name == "option"
        flags[param.name] = param.opts[0] if is_option else str(param.metavar or param.name).strip("[]{}.").upper()
    for name, others in ALIASES.items():
        if known := [flags[other] for other in others if other in flags]:
            flags.setdefault(name, known[0])
    return flags


def as_flags(message: str, flags: Mapping[str, str]) -> str:
    """Turn the backticked parameters of a library message into flags.

    `out` becomes --out, `resume=True` --resume, `shots=4` --shots 4, `data` DATA, `optim.lr=0.1` --set optim.lr=0.1. A
    name without a flag loses its backticks; a shell command in backticks keeps them.

    Args:
        message: message of a VLPromptError.
        flags: the flag or metavar of each parameter, as `flags_of` returns them.
    """

    def flag(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if "." in name and value is not None and "settings" in flags:
            return f"{flags['settings']} {name}={value}"
        if name not in flags:
            return found[0].strip("`")
        if value in (None, "True") or not flags[name].startswith("-"):
            return flags[name]
        value = value.strip("\"'")
        return f"{flags[name]} {value}"

    return _QUOTED.sub(flag, message)


def describe_usage_error(error: Any) -> str:
    """Describe a usage error in one line: the option, what was given, and what was expected."""
    from vlprompt.utils.strings import describe_validation_error, did_you_mean

    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoSuchOption" and context is not None:
        option = str(error.option_name)
        options = [name for param in context.command.get_params(context) for name in param.opts]
        hint = did_you_mean(option, options) or f"see {context.command_path} --help"
        return f"no option {option}; {hint}".replace("'", "")
    param = getattr(error, "param", None)
    if param is None:
        return re.sub(r"^Option '(\S+)'", r"\1", " ".join(str(error.format_message()).split()))
    flag = _name(param)
    if type(error).__name__ == "MissingParameter":
        return f"{flag} is missing; see {context.command_path} --help"
    cause: Any = error.__cause__  # pydantic's, where typer converts with it
    problem = describe_validation_error(cause) if hasattr(cause, "errors") else str(error.message)
    problem = re.sub(r"got '(-?[\d.]+)'$", r"got \1", problem)
    return f"{flag} {problem}" if problem.startswith("must ") else f"{flag}: {problem}"


def _name(param: Any) -> str:
    if param.param_type_name == "option":
        return str(param.opts[0])
    return str(param.metavar or param.name.upper()).strip("[]{}")
