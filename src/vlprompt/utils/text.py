"""Text helpers (stand-in of this branch; the parcel DATA owns this file)."""

import difflib
from collections.abc import Iterable

from pydantic import ValidationError


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "did you mean 'coop'?" for the known name nearest to `name` whatever the case, or "" without one."""
    known = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {known[close[0]]!r}?" if close else ""


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping",
    "list": "a list",
    "tuple": "a list",
}
_BOUNDS = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than"}
_BOUNDS["less_than_equal"] = "at most"


def describe_validation_error(error: ValidationError) -> str:
    """Describe the first problem of a pydantic error as "must be X, got Y"."""
    first = error.errors()[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind in _BOUNDS:
        wanted = f"{_BOUNDS[kind]} {next(iter(context.values()))}"
    elif kind == "literal_error":
        wanted = context["expected"]
    elif kind.split("_")[0] in _KINDS:
        wanted = _KINDS[kind.split("_")[0]]
    else:
        return str(first["msg"]).removeprefix("Value error, ")
    return f"must be {wanted}, got {first['input']!r}"
