"""The command that hands a run to other programs: export."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Json, Quiet, Run, RunBackbone, Verbose, set_up_logging
from vlprompt.errors import VLPromptError


def export(
    run: Run,
    form: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8 (dynamic quantization).")] = "fp32",
    out: Annotated[Path | None, typer.Option(help="The file; default RUN/model-PRECISION.onnx.")] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Files, folders or patterns to check it on; default the run's test images."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    backbone: RunBackbone = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a run as one file for programs that have neither torch nor vlprompt, checked against PyTorch.

    Examples:

        vlprompt export runs/mine

        vlprompt export runs/mine --precision int8 --out pets.onnx --images holiday/
    """
    set_up_logging(quiet, verbose)
    if form != "onnx":
        raise VLPromptError(f"--format {form}: use onnx")
    from vlprompt.export.onnx import export_onnx

    written = export_onnx(run, out, precision=precision, images=images or (), overwrite=overwrite, backbone=backbone)
    if as_json:
        print(json.dumps(asdict(written), default=str))
    elif not quiet:
        print(f"{written.file}: {written.size / 1e6:.1f} MB, {precision}")
        print(f"{written.agreement}")
