"""Commands about datasets: data list, data check, data fetch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlprompt.cli.options import Data, Json, Quiet, Root, set_up_logging

if TYPE_CHECKING:
    from vlprompt.data.check import Report

SPLITS = ("train", "val", "test")

app = typer.Typer(
    name="data", help="Datasets: which there are, whether one is whole, and how to get it.", no_args_is_help=True
)


@app.command("list")
def list_(root: Root = None, as_json: Json = False) -> None:
    """List the datasets that have a name: classes, published sizes, license, and where their images are here.

    JSON has their class names as well, for zero-shot use; they need no images.

    Examples:

        vlprompt data list

        vlprompt data list --root /data --json
    """
    from vlprompt.data.catalog import catalog

    entries = catalog(_path(root))
    if as_json:
        print(json.dumps(entries))
        return
    _print_table(
        ("name", "classes", "train", "val", "test", "license", "where"),
        [
            (
                entry["name"],
                f"{entry['classes']:,}" if "classes" in entry else "",
                *(f"{count:,}" if (count := entry.get("sizes", {}).get(split)) else "" for split in SPLITS),
                entry.get("license", ""),
                entry.get("where") or "not here",
            )
            for entry in entries
        ],
    )


@app.command()
def check(
    data: Data,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that a dataset is here and whole, or say what to fetch from where. Exit code 1 if something is wrong.

    Counts are compared with the published ones, class names with ours, and all files with one another; every image is
    decoded. What was found is remembered until a file changes.

    Examples:

        vlprompt data check oxford-pets

        vlprompt data check imagenet --root /data --json

        vlprompt data check pictures/
    """
    set_up_logging(quiet, False)
    from vlprompt.data.check import inspect

    report = inspect(data, _path(root))
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        _print_report(report, quiet)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A dataset's name.")], root: Root = None, quiet: Quiet = False
) -> None:
    """Download a dataset through torchvision, where torchvision can.

    Examples:

        vlprompt data fetch dtd --root data
    """
    set_up_logging(quiet, False)
    from vlprompt.data.catalog import fetch as run_fetch

    found = run_fetch(name, _path(root))
    if not quiet:
        print(f"{found.folder}: {found.layout.title}   next: vlprompt data check {name}")


def _path(root: str | None) -> Path | None:
    return None if root is None else Path(root)


def _print_report(report: "Report", quiet: bool) -> None:
    if not quiet and report.folder:
        print(f"{report.name} in {report.folder}" + (f": {report.layout}" if report.layout else ""))
        for split, counts in report.counts.items():
            images = [count for count in counts.values() if count]
            of_each = f"{min(images):,}" if min(images) == max(images) else f"{min(images):,} to {max(images):,}"
            print(f"  {split:5} {sum(images):9,} images of {len(images):,} classes, {of_each} of each")
    for note in report.notes:
        if not quiet:
            print(f"  note: {note}")
    for problem in report.problems:
        print(f"  wrong: {problem}")
    for way, lines in report.fetch.items():
        print(f"  to get it: {way}")
        for line in lines:
            print(f"    {line}")
    if not quiet and not report.problems:
        print("  no problems found")


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table that is cut at no width, so that it can be searched and piped."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    for row in (columns, *rows):
        cells = [
            cell.rjust(width) if name in ("classes", *SPLITS) else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
