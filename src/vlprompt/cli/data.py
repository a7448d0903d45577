"""The commands `vlprompt data list`, `check`, `fetch`, `split` and `verify`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.commands import Command, Commands
from vlprompt.cli.options import (
    Data,
    Exclude,
    Json,
    NameMap,
    Quiet,
    Root,
    chosen_format,
    loading,
    output_format,
    set_up_logging,
)
from vlprompt.cli.output import print_json, print_rows
from vlprompt.errors import VLPromptError
from vlprompt.utils.clean_output import as_line

if TYPE_CHECKING:
    from vlprompt.data.check import Report

SPLITS = ("train", "val", "test")

app = typer.Typer(
    name="data",
    cls=Commands,
    help="List, check, download and split datasets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", cls=Command)
def list_(
    root: Root = None,
    form: Annotated[str, output_format("table", "json", "csv", "markdown")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the named datasets and the location of their images.

    Shows the number of classes, the published sizes and the license of each. JSON also has the class names, which are
    enough for zero-shot classification.

    Examples:
        vlprompt data list
        vlprompt data list --root /data --json
    """
    form = chosen_format(form, as_json)
    with loading("reading", quiet):
        from vlprompt.data.catalog import catalog

        entries = catalog(_path(root))
    if form == "json":
        print_json(entries)
        return
    rows = []
    for entry in entries:
        sizes = entry.get("sizes", {})
        counts = [entry.get("classes"), *(sizes.get(split) for split in SPLITS)]
        numbers = [("" if not count else str(count) if form == "csv" else f"{count:,}") for count in counts]
        rows.append((entry["name"], *numbers, entry.get("license", ""), entry.get("where") or "not found"))
    print_rows(rows, ("name", "classes", *SPLITS, "license", "where"), form)


@app.command(cls=Command)
def check(
    data: Data,
    root: Root = None,
    exclude: Exclude = None,
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that a dataset is complete and readable.

    Compares counts with the published ones and class names with ours, finds duplicate files, decodes every image, and
    counts the files of a folder that are not read. For missing files it prints what to download from where. Results are
    cached until a file changes. The exit code is 1 if there are problems.

    Examples:
        vlprompt data check oxford-pets
        vlprompt data check imagenet --root /data --json
        vlprompt data check photos/
    """
    set_up_logging(quiet)
    form = chosen_format(form, as_json)
    with loading("reading", quiet):
        from vlprompt.data.check import inspect

    report = inspect(data, _path(root), exclude or ())
    if form == "json":
        print_json(report.as_dict())
    else:
        _print_report(report, quiet)
    if report.problems:
        raise typer.Exit(1)


@app.command(cls=Command)
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.datasets, help="Name of a dataset.")],
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Download a dataset with torchvision, if supported.

    Examples:
        vlprompt data fetch dtd --root data
    """
    set_up_logging(quiet)
    with loading("reading", quiet):
        from vlprompt.data.catalog import fetch as fetch_dataset

    found = fetch_dataset(name, _path(root))
    if not quiet:
        print(f"{found.folder}: {found.layout.title}   next: vlprompt data check {name}")


@app.command(cls=Command)
def split(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help=".jsonl file to write.")],
    shots: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training images per class to draw.  [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draw, as in `vlprompt tune`.")] = 1,
    name_map: NameMap = None,
    root: Root = None,
    exclude: Exclude = None,
    quiet: Quiet = False,
) -> None:
    """Write the split of a dataset to a file, with a hash of each image.

    `vlprompt tune` takes the file as DATA, so that others train and test on the same images.

    Examples:
        vlprompt data split openmoji --shots 16 --out openmoji-16.jsonl
        vlprompt data split photos/ --out photos.jsonl
    """
    set_up_logging(quiet)
    if out.suffix != ".jsonl":
        raise VLPromptError(f"--out must end in .jsonl, got {str(out)!r}")
    if out.exists():
        raise VLPromptError(f"--out {out} already exists; choose another file, or delete it")
    with loading("reading", quiet):
        from vlprompt.data.loading import load_dataset
        from vlprompt.data.readers.split_file import write_split

    dataset = load_dataset(data, root=root, name_map=name_map, exclude=exclude or ())
    for items in dataset.splits().values():
        for item in items:
            if Path(item.path).is_absolute():
                raise VLPromptError(f"{data} contains the absolute path {item.path}; replace it with a relative one")
    header = write_split(dataset if shots is None else dataset.few_shot(shots, seed), out)
    if not quiet:
        print(f"{out}: content {header.content}")
        print(f"next: vlprompt tune {out} --root {dataset.root}")


@app.command(cls=Command)
def verify(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Split file from `vlprompt data split`, or split.jsonl of a run."),
    ],
    root: Root = None,
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the images of a split with the hashes in its file.

    The exit code is 1 if an image differs or is missing.

    Examples:
        vlprompt data verify openmoji-16.jsonl --root photos/openmoji
        vlprompt data verify runs/mine/split.jsonl --root photos/
    """
    set_up_logging(quiet)
    form = chosen_format(form, as_json)
    with loading("reading", quiet):
        from vlprompt.data.readers.split_file import verify_split

    wrong = verify_split(file, _path(root))
    if form == "json":
        print_json(wrong)
    else:
        for path, reason in wrong.items():
            print(as_line(f"{path} {reason}"))
        if root is None and "is missing" in wrong.values() and not quiet:
            print("images are expected beside the file; give their folder as --root", file=sys.stderr)
        if not wrong and not quiet:
            print(f"{file}: all images match", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)


def _path(root: str | None) -> Path | None:
    return None if root is None else Path(root)


def _print_report(report: "Report", quiet: bool) -> None:
    if not quiet and report.folder:
        print(as_line(f"{report.name} in {report.folder}" + (f": {report.layout}" if report.layout else "")))
        for name, counts in report.counts.items():
            images = [count for count in counts.values() if count]
            each = f"{min(images):,}" if min(images) == max(images) else f"{min(images):,} to {max(images):,}"
            print(f"  {name:5} {sum(images):9,} images of {len(images):,} classes, {each} per class")
    for note in report.notes:
        if not quiet:
            print(as_line(f"  note: {note}"))
    for problem in report.problems:
        print(as_line(f"  problem: {problem}"))
    for way, lines in report.fetch.items():
        print(as_line(f"  to get it: {way}"))
        for line in lines:
            print(f"    {line}")
    if not quiet and not report.problems:
        print("  no problems found")
