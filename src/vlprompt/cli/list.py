"""Commands that show what there is: list, info."""

import json
from enum import StrEnum
from textwrap import shorten
from typing import Annotated

import typer

from vlprompt.cli.options import Json, Run


class Listed(StrEnum):
    """What `vlprompt list` knows."""

    methods = "methods"
    datasets = "datasets"
    backbones = "backbones"
    recipes = "recipes"


def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: Json = False) -> None:
    """List methods with their options, datasets, backbones or recipes.

    Examples:

        vlprompt list methods

        vlprompt list recipes --json
    """
    from vlprompt.results.summary import listing

    entries = listing(what.value)
    if as_json:
        print(json.dumps(entries))
        return
    for entry in entries:
        print(entry["name"] + (f"  {entry['about']}" if entry.get("about") else ""))
        for option in entry.get("options", []):
            choices = f" ({', '.join(map(str, option['choices']))})" if option["choices"] else ""
            print(f"    {option['name']} = {shorten(str(option['default']), 200)}{choices}  {option['about']}")
    if what is Listed.methods:
        print("These are defaults. Recipes give some options others: vlprompt tune DATA --method NAME --dry-run")


def info(run: Run, as_json: Json = False) -> None:
    """Show what a run is: its settings, status, history and metrics.

    Examples:

        vlprompt info runs/mine

        vlprompt info runs/mine --json
    """
    from vlprompt.results.summary import print_record
    from vlprompt.runs.record import read_record

    record = read_record(run)
    if as_json:
        print(record.model_dump_json())
    else:
        print_record(record, run)
