"""The command `vlprompt export`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Json, Quiet, Run, RunBackbone, Verbose, loading, one_of, set_up_logging
from vlprompt.cli.output import print_json


def export(
    run: Run,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", callback=one_of("onnx"), help="Format of the file: onnx.")
    ] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            metavar="TYPE",
            callback=one_of("fp32", "fp16", "int8"),
            help="Precision of the weights: fp32, fp16 or int8 (dynamic quantization).",
        ),
    ] = "fp32",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write.  [default: RUN/model-PRECISION.onnx]")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES",
            help="Files, folders or patterns to check the file on; repeatable.  [default: the run's test images]",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    backbone: RunBackbone = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Export a run to one ONNX file.

    The file needs neither torch nor vlprompt. Its predictions are compared with PyTorch's before it is written.

    Examples:
        vlprompt export runs/mine
        vlprompt export runs/mine --precision int8 --images holiday/
    """
    set_up_logging(quiet, verbose)
    with loading("loading PyTorch", quiet):
        from vlprompt.export.onnx import export_onnx

    written = export_onnx(run, out, precision=precision, images=images or (), overwrite=overwrite, backbone=backbone)
    if as_json:
        print_json(asdict(written))
    elif not quiet:
        print(
            f"{written.file}: {written.size / 1e6:.1f} MB, {precision}, {written.speed:.1f} times PyTorch's speed here"
        )
        print(f"{written.agreement}")
        if out is None:
            print(f"vlprompt serve {run} --runtime onnx --precision {precision}")
