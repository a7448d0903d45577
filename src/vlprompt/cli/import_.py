"""The command `vlprompt import`."""

from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Device, Json, Quiet, chosen_format, loading, output_format, set_up_logging
from vlprompt.errors import VLPromptError

METHODS = "coop, cocoop, kgcoop, prograd, maple, promptsrc, dapt or mudpt"


def import_(
    method: Annotated[str, typer.Argument(metavar="METHOD", help=f"{METHODS}.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint of the authors, such as model.pth.tar-50.")],
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="Backbone that the prompts were tuned with, as in `vlprompt tune`.")
    ],
    class_names: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Class names in order: .txt (one per line), or a list in a .json or .yaml file."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Run folder to write.")],
    device: Device = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help='Option that FILE does not record, such as "method.ctx_init=a photo of a"; repeatable.',
        ),
    ] = None,
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a checkpoint of a paper's original code to a run.

    The run folder works with `vlprompt evaluate`, `predict`, `serve` and `export`.

    Examples:
        vlprompt import coop model.pth.tar-50 --backbone ViT-B-16/openai \\
            --class-names classes.txt --out runs/theirs
        vlprompt import maple model.pth.tar-5 --backbone ViT-B-16.pt \\
            --class-names classes.json --out runs/maple
    """
    set_up_logging(quiet)
    form = chosen_format(form, as_json)
    with loading("loading PyTorch", quiet):
        from vlprompt.config.resolve import parse_settings
        from vlprompt.runs.importing import import_prompts

    settings = parse_settings(set_ or [])
    if wrong := [key for key in settings if not key.startswith("method.")]:
        raise VLPromptError(f"--set must be method.KEY=VALUE for an import, got {wrong[0]}={settings[wrong[0]]}")
    options = {key.removeprefix("method."): value for key, value in settings.items()}
    record = import_prompts(
        method, file, backbone=backbone, class_names=class_names, out=out, options=options, device=device
    )
    if form == "json":
        print(record.model_dump_json())
    elif not quiet:
        from vlprompt.results.summary import print_record

        print_record(record, out)
