"""The command `vlprompt list`."""

import inspect
from shutil import get_terminal_size
from textwrap import fill, shorten
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import Json, Quiet, chosen_format, listed, loading, one_of, output_format
from vlprompt.cli.output import print_json

KINDS = ("methods", "datasets", "backbones", "recipes")


def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            callback=one_of(*KINDS),
            autocompletion=complete.starting(KINDS),
            help=f"{listed(KINDS).capitalize()}.",
        ),
    ],
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List methods, datasets, backbones or recipes.

    Methods come with their options: default, choices and meaning.

    Examples:
        vlprompt list methods
        vlprompt list recipes --json
    """
    form = chosen_format(form, as_json)
    with loading("loading PyTorch" if what in ("methods", "backbones") else "reading", quiet):
        entries = listing(what)
    if form == "json":
        print_json(entries)
        return
    for entry in entries:
        _print_wrapped(entry["name"] + (f"  {entry['about']}" if entry.get("about") else ""), "")
        for option in entry.get("options", []):
            choices = f" ({', '.join(map(str, option['choices']))})" if option["choices"] else ""
            default = shorten(str(option["default"]), 200)
            _print_wrapped(f"{option['name']} = {default}{choices}  {option['about']}", "    ")
    if what == "methods" and not quiet:
        print("Defaults of the methods; a recipe may set others: vlprompt tune DATA --method NAME --dry-run")


def listing(what: str) -> list[dict[str, Any]]:
    """Return the entries of one of `KINDS`, each with a name and optionally a description and options."""
    if what == "methods":
        from vlprompt.methods.base import METHODS

        return [_method(name, METHODS.get(name)) for name in METHODS.names()]
    if what == "recipes":
        from vlprompt.config.recipes import list_recipes

        return [{"name": name} for name in list_recipes()]
    if what == "backbones":
        from vlprompt.backbones.backbone import list_backbones
        from vlprompt.backbones.sources.automatic import INSTALL, photos_installed

        state = "installed" if photos_installed() else INSTALL
        about = {
            "photos": f"for photographs, from packages of the package index: {state}",
            "embedded": "pictoclip, the small model for drawings that ships with the package",
        }
        return [{"name": name, **({"about": about[name]} if name in about else {})} for name in list_backbones()]
    from vlprompt.data.loading import GROUPS, list_datasets

    groups = [{"name": name, "about": f"group: {', '.join(members)}"} for name, members in GROUPS.items()]
    return [{"name": name} for name in list_datasets()] + groups


def _method(name: str, method: Any) -> dict[str, Any]:
    options = [
        {"name": key, "default": field.default, "choices": _choices(field.annotation), "about": field.description}
        for key, field in method.Options.model_fields.items()
    ]
    return {"name": name, "about": (inspect.getdoc(method) or "").splitlines()[0], "options": options}


def _choices(annotation: Any) -> list[Any]:
    """Return the allowed values of an option with a fixed set of them, otherwise an empty list."""
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def _print_wrapped(text: str, indent: str) -> None:
    width = get_terminal_size().columns
    print(fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}    ", break_on_hyphens=False))
