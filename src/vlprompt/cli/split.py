"""Commands about splits: data split, data verify."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Data, Json, Quiet, Root, set_up_logging
from vlprompt.errors import VLPromptError


def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="The file to write, a .jsonl.")],
    shots: Annotated[int | None, typer.Option(help="Draw so many training images of each class; default all.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw, as in `tune`.")] = 1,
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Write which images a run is trained and tested on, with a hash of each, to a file that `tune` takes as DATA.

    Examples:

        vlprompt data split openmoji --shots 16 --seed 1 --out openmoji-16-1.jsonl

        vlprompt data split pictures/ --out pictures.jsonl
    """
    set_up_logging(quiet, False)
    if out.suffix != ".jsonl":
        raise VLPromptError(f"--out {out}: a split is a .jsonl file; give it that ending")
    if out.exists():
        raise VLPromptError(f"--out {out} exists; choose another file, or delete it")
    from vlprompt.data.loading import load_dataset
    from vlprompt.data.readers.split_file import write_split

    dataset = load_dataset(data, root=root)
    for items in dataset.splits().values():
        for item in items:
            if Path(item.path).is_absolute():
                raise VLPromptError(
                    f"{data} has {item.path}, a path of this machine alone; write relative ones into it"
                )
    header = write_split(dataset if shots is None else dataset.few_shot(shots, seed), out)
    if not quiet:
        print(f"{out}: content {header.content}")
        print(f"next: vlprompt tune {out} --root {dataset.root}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `data split` wrote, or a run's split.jsonl.")],
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the images of a split with the hashes in its file. Exit code 1 if one is another, or not there.

    Examples:

        vlprompt data verify openmoji-16-1.jsonl --root pictures/openmoji

        vlprompt data verify runs/mine/split.jsonl --root pictures/
    """
    set_up_logging(quiet, False)
    from vlprompt.data.readers.split_file import verify_split

    wrong = verify_split(file, None if root is None else Path(root))
    if as_json:
        print(json.dumps(wrong))
    else:
        for path, reason in wrong.items():
            print(f"{path} {reason}")
        if root is None and "is not there" in wrong.values() and not quiet:
            print("images are looked for beside the file; give their folder with --root", file=sys.stderr)
        if not wrong and not quiet:
            print(f"{file}: every image is the one that it was", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)
